/** What the client accepts and how long it waits. Times are in milliseconds, sizes in bytes. */
export interface RegistryLimits {
  /** To open a connection. */
  readonly connectMs: number
  /** Without a byte, while one is waited for: a server that stalls holds no scan. */
  readonly idleMs: number
  /** For one document (manifest, list, token) with all attempts: one that drips holds no scan either. */
  readonly documentMs: number
  /** For one blob with all attempts, the reader's own time included. */
  readonly blobMs: number
  /** A manifest or index. The specification asks registries to take at least 4 MiB. */
  readonly manifestBytes: number
  /** One page of repositories or tags. */
  readonly listBytes: number
  /** A blob's descriptor may name no more. */
  readonly blobBytes: number
  /** Tries of one request, the first included; for a blob, tries in a row that brought no byte. */
  readonly attempts: number
  /** The first wait before another try; it doubles each time, with jitter. */
  readonly backoffMs: number
  /** The longest wait; a `Retry-After` beyond it ends the call as `throttled` or `unavailable`. */
  readonly waitMs: number
  /** How often one blob is taken up again after a cut: each time the connection and its sign-in are paid anew. */
  readonly resumes: number
  /** Redirects in a row. */
  readonly redirects: number
  /** Pages of one list: a list that links to itself must end. */
  readonly pages: number
  /** Connections to one origin. */
  readonly connections: number
}

export const defaultLimits: RegistryLimits = {
  connectMs: 10_000,
  idleMs: 30_000,
  documentMs: 2 * 60_000,
  blobMs: 30 * 60_000,
  manifestBytes: 4 * 1024 * 1024,
  listBytes: 4 * 1024 * 1024,
  blobBytes: 16 * 1024 ** 3,
  attempts: 4,
  backoffMs: 250,
  waitMs: 30_000,
  resumes: 20,
  redirects: 5,
  pages: 10_000,
  connections: 16
}
