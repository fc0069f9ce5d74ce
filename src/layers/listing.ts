import { Buffer } from 'node:buffer'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { LayerError } from './layer-error.ts'

export const ENTRY_TYPES = ['file', 'directory', 'symlink', 'hardlink', 'other', 'whiteout', 'opaque'] as const

/** One path of a layer, with all that is needed to put layers on top of each other. */
export interface LayerEntry {
  /** From the root, without a leading slash. Of a whiteout what it removes, of an opaque marker its directory. */
  readonly path: string
  /** `other` is a device or a pipe. */
  readonly type: (typeof ENTRY_TYPES)[number]
  /** Bytes of content; 0 for everything that is no file. */
  readonly size: number
  /** Of a symbolic link as written; of a hard link the path of the entry whose content it shares. */
  readonly linkTarget?: string
}

const VERSION = 1
// A million entries of usual length; what the store gives back was written from a layer within its limits.
const MAX_DECODED_BYTES = 512 * 2 ** 20

/**
 * A layer's entries in few bytes, to be stored: one byte of version, then JSON in zstd. An image whose layers are known is put
 * together from these without fetching anything.
 */
export function encodeListing(entries: readonly LayerEntry[]): Uint8Array {
  const rows = entries.map(({ path, type, size, linkTarget }) => {
    const kind = ENTRY_TYPES.indexOf(type)
    return linkTarget === undefined ? [path, kind, size] : [path, kind, size, linkTarget]
  })
  return Buffer.concat([Buffer.of(VERSION), zstdCompressSync(JSON.stringify(rows))])
}

/** Reads what `encodeListing` wrote. @throws LayerError `unsupported` for another version, `corrupt` for anything else. */
export function decodeListing(bytes: Uint8Array): LayerEntry[] {
  if (bytes[0] !== VERSION) throw new LayerError('unsupported', `the listing has version ${bytes[0]}, not ${VERSION}`)
  let rows: unknown
  try {
    rows = JSON.parse(zstdDecompressSync(bytes.subarray(1), { maxOutputLength: MAX_DECODED_BYTES }).toString('utf8'))
  } catch (error) {
    throw new LayerError('corrupt', 'the listing cannot be read', { cause: error })
  }
  if (!Array.isArray(rows)) throw new LayerError('corrupt', 'the listing is no list')
  return rows.map(decodeRow)
}

function decodeRow(row: unknown): LayerEntry {
  const [path, kind, size, linkTarget]: unknown[] = Array.isArray(row) ? row : []
  const type = typeof kind === 'number' ? ENTRY_TYPES[kind] : undefined
  if (typeof path !== 'string' || type === undefined || typeof size !== 'number') {
    throw new LayerError('corrupt', 'the listing has an entry that is none')
  }
  return typeof linkTarget === 'string' ? { path, type, size, linkTarget } : { path, type, size }
}
