/**
 * - `encoding`: not the text that the format is made of.
 * - `malformed`: text, and not of the format.
 * - `limit`: larger than anything that the format is used for.
 */
export type ExtractorErrorCode = 'encoding' | 'malformed' | 'limit'

/** Why a file could not be read; its message is a phrase that follows the file's name. */
export class ExtractorError extends Error {
  readonly code: ExtractorErrorCode

  constructor(code: ExtractorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ExtractorError'
    this.code = code
  }
}
