import type { Digest } from '../domain/digest.ts'
import { RegistryError } from './errors.ts'
import { type Descriptor, type ImageSource, type Manifest, nameInSource, readBlob } from './image-source.ts'
import { isImageConfigType, isIndexType, isLayerType, isManifestType } from './media-types.ts'
import { type ImageIndex, imageConfig, imageIndex, imageManifest, parseDocument } from './schema.ts'

/** A config holds metadata; this is what container runtimes read at most. */
const MAX_CONFIG_BYTES = 8 * 1024 * 1024
/** Indexes inside indexes: deeper than any tool writes them, and an end for those that are made to have none. */
const MAX_INDEX_DEPTH = 3
const MAX_INDEXES = 20

export interface Platform {
  readonly os: string
  readonly architecture: string
  /** `v8`; where it is not given, any. */
  readonly variant?: string
}

const DEFAULT_PLATFORM: Platform = { os: 'linux', architecture: 'amd64' }

/** What one image is made of, with everything that is known before a layer is fetched. */
export interface ResolvedImage {
  /** Of what the reference names: an index or a manifest. */
  readonly digest: Digest
  /** Every digest that may stand for it in an event: the index, those inside it, and all its images' manifests. */
  readonly digests: readonly Digest[]
  /** Of the manifest that was chosen. */
  readonly manifestDigest: Digest
  /** Of that manifest. */
  readonly mediaType: string
  /** As the config says. */
  readonly platform: Platform
  readonly config: {
    readonly digest: Digest
    readonly labels: Readonly<Record<string, string>>
    /** ISO 8601 in UTC; null where the config has none. */
    readonly created: string | null
  }
  /** The lowest first. */
  readonly layers: readonly ResolvedLayer[]
}

export interface ResolvedLayer extends Descriptor {
  /** The digest of the layer's tar archive once it is decompressed. */
  readonly diffId: Digest
}

/**
 * Finds the image behind a reference and reads its manifest and config.
 *
 * Of an index, it is the image of the platform that is asked for. Where none is asked for, it is linux/amd64, or the only
 * image that there is: a build for one platform is often an index, for the sake of its attestations.
 * @throws RegistryError `unsupported` for what is no container image, or not for that platform; `invalid` for documents
 * that break their specification, https://github.com/opencontainers/image-spec/blob/v1.1.1/spec.md.
 */
export async function resolveImage(
  source: ImageSource,
  reference: string,
  options: { readonly platform?: Platform | undefined } = {},
  signal?: AbortSignal
): Promise<ResolvedImage> {
  const name = nameInSource(source, reference)
  const top = await source.manifest(reference, signal)
  const digests = new Set<Digest>([top.digest])
  let manifest = top
  if (isIndexType(top.mediaType)) {
    const images = await imagesOf(source, top, digests, signal)
    manifest = await source.manifest(chooseImage(images, options.platform, name).digest, signal)
  }
  if (!isManifestType(manifest.mediaType)) throw noImage(name, manifest.mediaType)
  const { config, layers } = parseDocument(imageManifest, manifest.bytes, `the manifest of ${name}`)
  if (!isImageConfigType(config.mediaType)) throw noImage(name, config.mediaType)
  // Signatures and attestations have an image's config, and layers of their own.
  const other = layers.find((layer) => !isLayerType(layer.mediaType))
  if (other !== undefined) throw noImage(name, other.mediaType)

  const parsed = parseDocument(
    imageConfig,
    await readBlob(source, config, MAX_CONFIG_BYTES, signal),
    `the config of ${name}`
  )
  const diffIds = parsed.rootfs.diff_ids ?? []
  if (diffIds.length !== layers.length) {
    throw new RegistryError('invalid', `${name} has ${layers.length} layers, and its config knows ${diffIds.length}`)
  }
  const platform: Platform = {
    os: parsed.os,
    architecture: parsed.architecture,
    ...(parsed.variant ? { variant: parsed.variant } : {})
  }
  if (options.platform !== undefined && !isPlatform(platform, options.platform)) {
    throw new RegistryError('unsupported', `${name} is for ${text(platform)}, not for ${text(options.platform)}`)
  }
  return {
    digest: top.digest,
    digests: [...digests],
    manifestDigest: manifest.digest,
    mediaType: manifest.mediaType,
    platform,
    config: {
      digest: config.digest,
      labels: parsed.config?.Labels ?? {},
      created: utc(parsed.created)
    },
    layers: diffIds.flatMap((diffId, at) => layers.slice(at, at + 1).map((layer) => ({ ...layer, diffId })))
  }
}

interface IndexedImage {
  readonly digest: Digest
  readonly platform: Platform | null
}

/** The images of an index and of the indexes inside it, in their order; notes every digest on the way. */
async function imagesOf(
  source: ImageSource,
  top: Manifest,
  digests: Set<Digest>,
  signal: AbortSignal | undefined
): Promise<IndexedImage[]> {
  const images: IndexedImage[] = []
  let indexes = 0
  async function visit(index: Manifest, depth: number): Promise<void> {
    const name = nameInSource(source, index.digest)
    if (depth > MAX_INDEX_DEPTH || ++indexes > MAX_INDEXES) {
      throw new RegistryError('invalid', `${nameInSource(source, top.digest)} has more indexes inside it than are read`)
    }
    for (const entry of parseDocument(imageIndex, index.bytes, `the index ${name}`).manifests) {
      if (isAttached(entry)) continue
      if (isIndexType(entry.mediaType)) {
        if (digests.has(entry.digest)) continue
        digests.add(entry.digest)
        await visit(await source.manifest(entry.digest, signal), depth + 1)
      } else if (isManifestType(entry.mediaType)) {
        digests.add(entry.digest)
        images.push({ digest: entry.digest, platform: platformOf(entry) })
      }
    }
  }
  await visit(top, 1)
  return images
}

/** What belongs to an image and is none: https://docs.docker.com/build/metadata/attestations/attestation-storage/ */
function isAttached({ platform, annotations }: ImageIndex['manifests'][number]): boolean {
  return (
    annotations?.['vnd.docker.reference.type'] !== undefined ||
    (platform?.os === 'unknown' && platform.architecture === 'unknown')
  )
}

function platformOf({ platform }: ImageIndex['manifests'][number]): Platform | null {
  if (!platform) return null
  const { os, architecture, variant } = platform
  return variant ? { os, architecture, variant } : { os, architecture }
}

function chooseImage(images: readonly IndexedImage[], asked: Platform | undefined, name: string): IndexedImage {
  const wanted = asked ?? DEFAULT_PLATFORM
  const fitting = images.filter(({ platform }) => platform !== null && isPlatform(platform, wanted))
  // Of several that fit, the one for the most machines: an amd64 of its own for `v3` comes after the plain one.
  const chosen =
    fitting.find(({ platform }) => plainVariant(platform) === plainVariant(wanted)) ??
    fitting[0] ??
    images.find(({ platform }) => platform === null) ??
    (images.length === 1 ? images[0] : undefined)
  if (chosen !== undefined) return chosen
  const others = [...new Set(images.map(({ platform }) => (platform === null ? '?' : text(platform))))]
  throw new RegistryError(
    'unsupported',
    `${name} has no image for ${text(wanted)}${others.length === 0 ? '' : `; it has ${others.slice(0, 10).join(', ')}`}`
  )
}

function isPlatform(platform: Platform, wanted: Platform): boolean {
  return (
    platform.os === wanted.os &&
    platform.architecture === wanted.architecture &&
    (wanted.variant === undefined || plainVariant(platform) === plainVariant(wanted))
  )
}

/** The variant, with the one that is meant where none is written left out, as containerd normalises platforms. */
function plainVariant(platform: Platform | null): string {
  const variant = platform?.variant ?? ''
  const plain: Readonly<Record<string, string>> = { amd64: 'v1', arm64: 'v8', arm: 'v7' }
  return variant === plain[platform?.architecture ?? ''] ? '' : variant
}

function text({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`
}

function noImage(name: string, mediaType: string): RegistryError {
  return new RegistryError(
    'unsupported',
    `${name} is no container image: it holds ${mediaType || 'an unknown document'}`
  )
}

function utc(created: string | null | undefined): string | null {
  const time = Date.parse(created ?? '')
  return Number.isNaN(time) ? null : new Date(time).toISOString()
}
