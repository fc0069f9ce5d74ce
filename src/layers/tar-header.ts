import type { Buffer } from 'node:buffer'
import { LayerError } from './layer-error.ts'
import { decodeName } from './paths.ts'

/**
 * One 512-byte header of a tar archive: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html ("ustar
 * Interchange Format") and https://www.gnu.org/software/tar/manual/html_node/Standard.html (GNU's own).
 */
export interface TarHeader {
  /** The type flag, one character; NUL is an old regular file. */
  readonly flag: string
  readonly name: string
  readonly linkName: string
  readonly mode: number
  /** Bytes on tape that follow, as this header states them. */
  readonly size: number
  /** For an old GNU sparse file: its true size, and whether further blocks of its map follow. Else null. */
  readonly sparse: { readonly realSize: number; readonly extended: boolean } | null
}

export const BLOCK_SIZE = 512

const CHECKSUM_AT = 148
const CHECKSUM_LENGTH = 8
const SPACE = 0x20
const POSIX_MAGIC = 'ustar\0'
const STAR_TRAILER = 'tar\0'

/** Reads a header block. @throws LayerError `corrupt` where its checksum or a number in it is wrong. */
export function readTarHeader(block: Buffer): TarHeader {
  verifyChecksum(block)
  const flag = block.toString('latin1', 156, 157)
  const name = field(block, 0, 100)
  const prefix = namePrefix(block)
  return {
    flag,
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: field(block, 157, 100),
    mode: readNumber(block, 100, 8, 'mode') & 0o7777,
    size: readNumber(block, 124, 12, 'size'),
    sparse: flag === 'S' ? { realSize: readNumber(block, 483, 12, 'real size'), extended: block[482] !== 0 } : null
  }
}

/** Whether a block is all zeros: two of them end an archive. */
export function isZeroBlock(block: Buffer): boolean {
  return block.every((byte) => byte === 0)
}

/** A text field ends at its first NUL or at its last byte. */
export function textUpToNul(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return decodeName(end === -1 ? bytes : bytes.subarray(0, end))
}

function field(block: Buffer, at: number, length: number): string {
  return textUpToNul(block.subarray(at, at + length))
}

function namePrefix(block: Buffer): string {
  // GNU's own format ("ustar  ") has times where the others have a prefix.
  if (block.toString('latin1', 257, 263) !== POSIX_MAGIC) return ''
  return field(block, 345, block.toString('latin1', 508, 512) === STAR_TRAILER ? 131 : 155)
}

/** The sum of all bytes with the checksum's own as spaces; some old writers summed signed bytes. */
function verifyChecksum(block: Buffer): void {
  let unsigned = 0
  let negatives = 0
  for (const byte of block) {
    unsigned += byte
    negatives += byte >> 7
  }
  // Its own bytes are digits, spaces and NULs: none is negative.
  for (const byte of block.subarray(CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_LENGTH)) unsigned += SPACE - byte
  const signed = unsigned - 256 * negatives
  const stated = readNumber(block, CHECKSUM_AT, CHECKSUM_LENGTH, 'checksum')
  if (stated !== unsigned && stated !== signed) throw new LayerError('corrupt', 'a tar header has a wrong checksum')
}

/** A number in octal, or in base 256 where its first bit is set (GNU, star: sizes from 8 GiB on). */
function readNumber(block: Buffer, at: number, length: number, what: string): number {
  const first = block[at] ?? 0
  if (first & 0x80) {
    let value = first & 0x7f
    for (let index = at + 1; index < at + length; index++) value = value * 256 + (block[index] ?? 0)
    // A negative number has its highest bits set, and is thereby far too large as well.
    if (!Number.isSafeInteger(value)) throw new LayerError('corrupt', `a tar header has an impossible ${what}`)
    return value
  }
  // Padding is spaces and NULs on either side.
  const text = block.toString('latin1', at, at + length).replace(/^[ \0]+|[ \0]+$/g, '')
  if (!/^[0-7]*$/.test(text)) throw new LayerError('corrupt', `a tar header has a ${what} that is no number`)
  return text === '' ? 0 : Number.parseInt(text, 8)
}
