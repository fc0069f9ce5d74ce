import type { FileHandle } from 'node:fs/promises'
import { posix } from 'node:path'
import { RegistryError } from './errors.ts'

// A reader of its own: image archives are read by seeking to the few files that are wanted, and tar libraries stream
// from the first byte to the last without saying where anything lies. Formats: POSIX ustar and pax
// (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13) and GNU's long names and sizes.

const BLOCK = 512
/** An image archive has a few hundred members; this is the end of one that is made to have no end. */
const MAX_MEMBERS = 100_000
/** A long name or a pax header. */
const MAX_EXTENSION_BYTES = 1024 * 1024
const MAX_LINKS = 8

const REGULAR: ReadonlySet<string> = new Set(['0', '\0', '7'])

/** Where in the archive a file's bytes lie. */
export interface TarMember {
  readonly position: number
  readonly size: number
}

/**
 * Every file of a tar archive by its path, without a leading `./`; of two with one path the later, as tar unpacks them.
 * Links are followed inside the archive (`docker save` once wrote a layer that two images share as a link).
 * @returns null where the file is no tar archive.
 * @throws RegistryError `invalid` for one that breaks off or is damaged.
 */
export async function indexTar(
  file: FileHandle,
  name: string,
  maxMembers = MAX_MEMBERS
): Promise<ReadonlyMap<string, TarMember> | null> {
  const { size: length } = await file.stat()
  const files = new Map<string, TarMember>()
  const links = new Map<string, string>()
  const invalid = (what: string) => new RegistryError('invalid', `the archive ${name} ${what}`)
  let extension: Extension = {}
  let members = 0
  for (let position = 0; ; ) {
    const header = await readAt(file, position, BLOCK)
    // Two zero blocks end an archive; some writers leave them out.
    if (header === null || header.every((byte) => byte === 0)) {
      if (position === 0) return null
      break
    }
    if (!hasChecksum(header)) {
      if (position === 0) return null
      throw invalid(`is damaged at byte ${position}`)
    }
    if (++members > maxMembers) throw invalid(`has more than ${maxMembers} members`)
    const type = String.fromCharCode(header[156] ?? 0)
    const start = position + BLOCK
    const isExtension = type === 'x' || type === 'g' || type === 'L' || type === 'K'
    const size = (isExtension ? null : extension.size) ?? number(header.subarray(124, 136))
    if (!Number.isSafeInteger(size) || size < 0 || start + size > length) {
      throw invalid(`breaks off in the member at byte ${position}`)
    }
    position = start + Math.ceil(size / BLOCK) * BLOCK
    if (isExtension) {
      if (size > MAX_EXTENSION_BYTES) throw invalid(`has a name or header of ${size} bytes`)
      const body = (await readAt(file, start, size)) ?? Buffer.alloc(0)
      if (type === 'x') {
        const records = paxRecords(body)
        if (records === null) throw invalid(`has a header that cannot be read, before byte ${position}`)
        extension = { ...extension, ...records }
      }
      if (type === 'L') extension.path = text(body)
      if (type === 'K') extension.link = text(body)
      continue
    }
    const path = posix.normalize(extension.path ?? headerPath(header))
    const link = extension.link ?? text(header.subarray(157, 257))
    extension = {}
    files.delete(path)
    links.delete(path)
    if (REGULAR.has(type)) files.set(path, { position: start, size })
    if (type === '1') links.set(path, posix.normalize(link))
    if (type === '2') links.set(path, posix.join(posix.dirname(path), link))
  }
  for (const path of links.keys()) {
    let target = links.get(path)
    for (let hops = 1; target !== undefined && links.has(target) && hops < MAX_LINKS; hops++) target = links.get(target)
    const member = files.get(target ?? '')
    if (member !== undefined) files.set(path, member)
  }
  return files
}

interface Extension {
  path?: string
  link?: string
  size?: number
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer | null> {
  const buffer = Buffer.alloc(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled)
    if (bytesRead === 0) return null
    filled += bytesRead
  }
  return buffer
}

/** The sum of the header's bytes, with its own field as blanks. */
function hasChecksum(header: Buffer): boolean {
  let sum = 0
  for (const [at, byte] of header.entries()) sum += at >= 148 && at < 156 ? 0x20 : byte
  return sum === number(header.subarray(148, 156))
}

/** Octal text, or a number in base 256 where the first bit says so; NaN for anything else. */
function number(field: Buffer): number {
  const first = field[0] ?? 0
  if (first & 0x80) {
    let value = first & 0x7f
    for (const byte of field.subarray(1)) value = value * 256 + byte
    return value
  }
  const digits = field
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
    .trimStart()
  return /^[0-7]*$/.test(digits) ? Number.parseInt(digits || '0', 8) : Number.NaN
}

function headerPath(header: Buffer): string {
  const path = text(header.subarray(0, 100))
  const prefix = header.toString('latin1', 257, 263) === 'ustar\0' ? text(header.subarray(345, 500)) : ''
  return prefix === '' ? path : `${prefix}/${path}`
}

function text(field: Buffer): string {
  const end = field.indexOf(0)
  return field.toString('utf8', 0, end === -1 ? field.length : end)
}

/** `LENGTH KEY=VALUE\n`, where the length is that of the whole record in bytes. */
function paxRecords(body: Buffer): Extension | null {
  const extension: Extension = {}
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at)
    const digits = body.toString('latin1', at, Math.max(at, space))
    const length = /^\d{1,7}$/.test(digits) ? Number(digits) : 0
    // A record that is shorter than its own length would be read again and again.
    if (length <= digits.length + 1 || at + length > body.length) return null
    const record = body.toString('utf8', space + 1, at + length - 1)
    const [key] = record.split('=', 1)
    const value = record.slice((key ?? '').length + 1)
    if (key === 'path') extension.path = value
    if (key === 'linkpath') extension.link = value
    if (key === 'size') extension.size = /^\d+$/.test(value) ? Number(value) : Number.NaN
    at += length
  }
  return extension
}
