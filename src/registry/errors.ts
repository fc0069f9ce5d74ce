/**
 * Why an image could not be read.
 * - `not-found`: the registry or archive has no such image, blob or repository.
 * - `unauthorized`: it asks for credentials that we lack, refuse to send there, or that it does not accept.
 * - `throttled`: it asked us to slow down, for longer or more often than we wait.
 * - `unavailable`: it could not be reached, broke off or answered 5xx.
 * - `timeout`: it took longer than the limits allow.
 * - `too-large`: a document or blob is above its limit.
 * - `invalid`: an answer or document is not what the specification says.
 * - `digest-mismatch`: content differs from its descriptor, in digest or in size.
 * - `unsupported`: it is well formed, and nothing that we can read: a Helm chart, a signature, an old schema.
 */
export type RegistryErrorCode =
  | 'not-found'
  | 'unauthorized'
  | 'throttled'
  | 'unavailable'
  | 'timeout'
  | 'too-large'
  | 'invalid'
  | 'digest-mismatch'
  | 'unsupported'

/** A failure to read an image. The message is a sentence for people; it never holds a credential or a URL's query. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError'
  readonly code: RegistryErrorCode
  /** How long the registry asked us to wait, in milliseconds, where it said so. */
  readonly retryAfterMs: number | null

  constructor(
    code: RegistryErrorCode,
    message: string,
    options: { cause?: unknown; retryAfterMs?: number | null } = {}
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryAfterMs = options.retryAfterMs ?? null
  }
}

/** Whether a failure may pass by itself, so that the same call is worth trying again later. */
export function isPassing(error: unknown): boolean {
  return (
    error instanceof RegistryError &&
    (error.code === 'unavailable' || error.code === 'timeout' || error.code === 'throttled')
  )
}
