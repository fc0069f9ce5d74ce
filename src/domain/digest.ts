import { createHash } from 'node:crypto'

/**
 * A content digest, `algorithm:hex`, as the OCI image specification defines it
 * (https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests).
 */
export type Digest = `sha256:${string}` | `sha512:${string}`

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/

/** Whether `text` is a digest of an algorithm that the specification registers, in lower-case hex. */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text)
}

/** The hash algorithm of a digest, in the name that `node:crypto` understands. */
export function digestAlgorithm(digest: Digest): 'sha256' | 'sha512' {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256'
}

/** The digest of bytes that are at hand; sha256 unless another digest is to be compared with. */
export function digestOf(bytes: Uint8Array | string, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}
