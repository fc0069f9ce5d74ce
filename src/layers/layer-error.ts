import type { LayerLimits, OverlayLimits } from './limits.ts'

/**
 * Why a layer cannot be used. The first three are about what was transferred and may pass on another try; `timeout` and
 * `aborted` are about this run; the others are the layer's own and stay.
 *
 * - `size-mismatch`: more or fewer bytes than the descriptor says.
 * - `digest-mismatch`: the compressed bytes are not those that the descriptor names.
 * - `diff-id-mismatch`: the archive is not the one that the image's config names.
 * - `truncated`: the bytes are those of the descriptor, and end inside a compressed frame or an archive's entry.
 * - `corrupt`: no valid gzip, zstd or tar.
 * - `unsupported`: a form that is known and not read (xz, bzip2, encrypted).
 * - `limit`: past a limit; `limit` says which.
 */
export type LayerErrorCode =
  | 'digest-mismatch'
  | 'diff-id-mismatch'
  | 'size-mismatch'
  | 'truncated'
  | 'corrupt'
  | 'unsupported'
  | 'limit'
  | 'timeout'
  | 'aborted'

export interface LayerErrorOptions extends ErrorOptions {
  readonly limit?: keyof LayerLimits | keyof OverlayLimits
}

export class LayerError extends Error {
  readonly code: LayerErrorCode
  /** Which limit was passed; null unless the code is `limit`. */
  readonly limit: keyof LayerLimits | keyof OverlayLimits | null

  constructor(code: LayerErrorCode, message: string, options: LayerErrorOptions = {}) {
    super(message, options)
    this.name = 'LayerError'
    this.code = code
    this.limit = options.limit ?? null
  }
}
