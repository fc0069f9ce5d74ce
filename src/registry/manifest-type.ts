import { RegistryError } from './errors.ts'
import { isIndexType, isManifestType, OCI_INDEX, OCI_MANIFEST } from './media-types.ts'
import { anyManifest, parseDocument } from './schema.ts'

/**
 * What kind of document a manifest is: as it says itself, else as its server said, else as its fields show. Its own word
 * counts first, since it is what the digest covers.
 * @throws RegistryError `invalid` where it is both an index and a manifest: readers would disagree on what it holds
 * (https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh).
 */
export function manifestType(bytes: Uint8Array, contentType: string | undefined, name: string): string {
  const document = parseDocument(anyManifest, bytes, `the manifest ${name}`)
  const isIndex = 'manifests' in document
  const isManifest = 'layers' in document || 'config' in document
  if (isIndex && isManifest) {
    throw new RegistryError('invalid', `the manifest ${name} claims to be both an index and an image`)
  }
  if (document.mediaType !== undefined) return document.mediaType
  const said = contentType?.split(';')[0]?.trim().toLowerCase() ?? ''
  if ((isIndex && isIndexType(said)) || (isManifest && isManifestType(said))) return said
  return isIndex ? OCI_INDEX : isManifest ? OCI_MANIFEST : said
}

/**
 * Whether a manifest is in Docker's first schema, whose digest leaves its signatures out and whose content names no
 * config: https://distribution.github.io/distribution/spec/deprecated-schema-v1/
 */
export function isFirstSchema(bytes: Uint8Array): boolean {
  try {
    return anyManifest.safeParse(JSON.parse(Buffer.from(bytes).toString())).data?.schemaVersion === 1
  } catch {
    return false
  }
}
