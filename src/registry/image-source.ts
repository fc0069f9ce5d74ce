import { createHash } from 'node:crypto'
import { type Digest, digestAlgorithm, isDigest } from '../domain/digest.ts'
import { RegistryError } from './errors.ts'

/** Where content is found and what it must be: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  /** In bytes. */
  readonly size: number
}

/** A manifest or an index, as it was stored; its bytes hash to its digest. */
export interface Manifest {
  readonly digest: Digest
  /** As the document says itself, else as the registry said, else as its fields show. */
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/** The content of one image repository, wherever it lies: in a registry, a directory or an archive. */
export interface ImageSource {
  /** For people: `localhost:5000/cdp-portal-frontend`, or a path. */
  readonly description: string
  /**
   * The manifest or index behind a tag or digest, verified against the digest.
   * @throws RegistryError `not-found` where there is none; the signal's reason where it is aborted.
   */
  manifest(reference: string, signal?: AbortSignal): Promise<Manifest>
  /**
   * A blob's bytes, never more than the descriptor's size. Not verified: who stores what it reads verifies the digest
   * while it streams. Leaving the loop early ends the transfer.
   * @throws RegistryError while it streams; the signal's reason where it is aborted.
   */
  blob(descriptor: Descriptor, signal?: AbortSignal): AsyncIterable<Uint8Array>
}

/** `localhost:5000/service:1.2.3` or `localhost:5000/service@sha256:…`, for messages. */
export function nameInSource(source: { readonly description: string }, reference: string): string {
  return `${source.description}${isDigest(reference) ? '@' : ':'}${reference}`
}

/**
 * A small blob as a whole, verified in size and digest.
 * @param limit in bytes; a larger descriptor is refused before anything is fetched.
 * @throws RegistryError `too-large`, `digest-mismatch`, or what the source throws.
 */
export async function readBlob(
  source: ImageSource,
  descriptor: Descriptor,
  limit: number,
  signal?: AbortSignal
): Promise<Uint8Array> {
  const name = nameInSource(source, descriptor.digest)
  if (descriptor.size > limit) {
    throw new RegistryError('too-large', `${name} has ${descriptor.size} bytes, more than the ${limit} that are read`)
  }
  const hash = createHash(digestAlgorithm(descriptor.digest))
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of source.blob(descriptor, signal)) {
    length += chunk.length
    // A source that breaks its promise must not fill the memory.
    if (length > descriptor.size) break
    hash.update(chunk)
    chunks.push(chunk)
  }
  if (length !== descriptor.size) {
    throw new RegistryError('digest-mismatch', `${name} does not have the ${descriptor.size} bytes that it should have`)
  }
  if (`${digestAlgorithm(descriptor.digest)}:${hash.digest('hex')}` !== descriptor.digest) {
    throw new RegistryError('digest-mismatch', `the content of ${name} does not match its digest`)
  }
  return Buffer.concat(chunks, length)
}
