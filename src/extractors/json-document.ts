import { isUtf8 } from 'node:buffer'
import { ExtractorError } from './extractor-error.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/**
 * A file that is one JSON object, in UTF-8 with or without a byte order mark.
 * @throws ExtractorError `encoding`, `malformed`.
 */
export function readJsonObject(content: Uint8Array): JsonObject {
  if (!isUtf8(content)) throw new ExtractorError('encoding', 'is not UTF-8')
  let value: unknown
  try {
    // TextDecoder takes the byte order mark away, which JSON.parse does not take.
    value = JSON.parse(new TextDecoder().decode(content))
  } catch (error) {
    throw new ExtractorError('malformed', 'is no JSON', { cause: error })
  }
  if (!isJsonObject(value)) throw new ExtractorError('malformed', 'is no JSON object')
  return value
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The entries of an object whose values are objects; none where the value is no object. */
export function objectEntries(value: unknown): [string, JsonObject][] {
  if (!isJsonObject(value)) return []
  return Object.entries(value).filter((entry): entry is [string, JsonObject] => isJsonObject(entry[1]))
}
