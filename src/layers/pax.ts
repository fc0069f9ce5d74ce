import type { Buffer } from 'node:buffer'
import { LayerError } from './layer-error.ts'
import { decodeName } from './paths.ts'

/** What an extended header changes in the entry after it; undefined where it says nothing. */
export interface PaxRecords {
  readonly path?: string
  readonly linkPath?: string
  /** Bytes on tape. */
  readonly size?: number
  /** The true size of a sparse file in any of GNU's PAX formats (0.0, 0.1, 1.0). */
  readonly sparseSize?: number
  readonly isSparse: boolean
}

const SPACE = 0x20
const EQUALS = 0x3d
const NEWLINE = 0x0a

/**
 * Reads a PAX extended header: `LENGTH KEY=VALUE\n`, where the length counts the whole record
 * (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html, "pax Extended Header"). An empty value takes
 * the key back; GNU's sparse keys are at https://www.gnu.org/software/tar/manual/html_node/PAX-keywords.html.
 * @throws LayerError `corrupt` where a record is not of that form.
 */
export function readPaxRecords(bytes: Buffer): PaxRecords {
  const values = new Map<string, Buffer>()
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(SPACE, at)
    const lengthText = space === -1 ? '' : bytes.toString('latin1', at, Math.min(space, at + 10))
    const end = at + (/^\d+$/.test(lengthText) ? Number(lengthText) : 0)
    const equals = bytes.indexOf(EQUALS, space)
    // The `=` lies in the record, and thereby its end behind its beginning: the loop ends.
    if (bytes[end - 1] !== NEWLINE || equals === -1 || equals >= end) {
      throw new LayerError('corrupt', 'a PAX header has a malformed record')
    }
    values.set(bytes.toString('latin1', space + 1, equals), bytes.subarray(equals + 1, end - 1))
    at = end
  }
  const text = (key: string) => {
    const value = values.get(key)
    return value === undefined || value.length === 0 ? undefined : decodeName(value)
  }
  const number = (key: string) => {
    const value = text(key)
    if (value === undefined) return undefined
    if (!/^\d+$/.test(value) || !Number.isSafeInteger(Number(value))) {
      throw new LayerError('corrupt', `a PAX header has an impossible ${key}`)
    }
    return Number(value)
  }
  return {
    path: text('GNU.sparse.name') ?? text('path'),
    linkPath: text('linkpath'),
    size: number('size'),
    sparseSize: number('GNU.sparse.realsize') ?? number('GNU.sparse.size'),
    isSparse: values.has('GNU.sparse.major') || values.has('GNU.sparse.map') || values.has('GNU.sparse.numblocks')
  }
}
