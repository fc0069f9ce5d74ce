import { Buffer } from 'node:buffer'

/** An entry of a layer's archive; only `path` is needed. */
export interface TarEntrySpec {
  /** As it is written into the archive: nothing is cleaned, so that `../x` and `./x` can be built. */
  readonly path: string
  readonly type?: 'file' | 'directory' | 'symlink' | 'hardlink' | 'fifo' | 'character-device'
  readonly content?: string | Uint8Array
  readonly linkTarget?: string
  readonly mode?: number
  /** PAX records written before the entry; `path`, `linkpath` and `size` among them change what readers see. */
  readonly pax?: Readonly<Record<string, string>>
  /** Laid over the finished header, the checksum then being made anew: for headers that no tool writes. */
  readonly header?: HeaderSpec
}

/** The fields of a ustar header as they are written. Whatever is missing is as an empty regular file has it. */
export interface HeaderSpec {
  readonly name?: string | Uint8Array
  readonly mode?: string
  /** A number is written in octal, bytes (at most 12) as they are. */
  readonly size?: number | Uint8Array
  /** One character. */
  readonly flag?: string
  readonly linkName?: string
  /** `ustar\0` followed by `00` unless given, 8 bytes in all. */
  readonly magic?: string
  readonly prefix?: string
  /** Written instead of the sum of the header's bytes. */
  readonly checksum?: number
  /** Any other bytes, by their place in the header. */
  readonly bytes?: Readonly<Record<number, Uint8Array>>
}

const BLOCK = 512
const NAME_LENGTH = 100
// 2020-01-01, so that the same entries make the same bytes on every machine and day.
const MTIME = 1_577_836_800
const FLAGS = { file: '0', hardlink: '1', symlink: '2', 'character-device': '3', directory: '5', fifo: '6' } as const

/** A tar archive in the form that container builders write: ustar, with PAX headers for what does not fit. */
export function buildTar(entries: readonly TarEntrySpec[]): Buffer {
  return Buffer.concat([...entries.flatMap(tarEntry), Buffer.alloc(2 * BLOCK)])
}

/** One entry: its headers and its content, padded to whole blocks. */
export function tarEntry(entry: TarEntrySpec): Buffer[] {
  const type = entry.type ?? 'file'
  const content = Buffer.from(entry.content ?? '')
  const pax: Record<string, string> = {}
  if (!fits(entry.path)) pax.path = entry.path
  if (entry.linkTarget !== undefined && !fits(entry.linkTarget)) pax.linkpath = entry.linkTarget
  Object.assign(pax, entry.pax)
  const header = tarHeader({
    name: entry.path,
    mode: (entry.mode ?? (type === 'directory' ? 0o755 : 0o644)).toString(8).padStart(7, '0'),
    size: content.length,
    flag: FLAGS[type],
    linkName: entry.linkTarget ?? '',
    ...entry.header
  })
  return [...(Object.keys(pax).length === 0 ? [] : paxHeader(pax)), header, padded(content)]
}

/** A PAX extended header, or a global one (`flag` `g`). */
export function paxHeader(records: Readonly<Record<string, string>>, flag = 'x'): Buffer[] {
  const body = Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)))
  return extendedHeader(body, flag, 'PaxHeaders/entry')
}

/** GNU's header for a long name (`L`) or a long link target (`K`). */
export function gnuLongHeader(text: string | Uint8Array, flag: 'L' | 'K'): Buffer[] {
  return extendedHeader(Buffer.concat([Buffer.from(text), Buffer.alloc(1)]), flag, '././@LongLink')
}

/** A header block with its checksum. */
export function tarHeader(spec: HeaderSpec): Buffer {
  const block = Buffer.alloc(BLOCK)
  put(block, 0, NAME_LENGTH, spec.name ?? '')
  put(block, 100, 8, spec.mode ?? '0000644')
  put(block, 108, 8, '0000000')
  put(block, 116, 8, '0000000')
  const size = spec.size ?? 0
  put(block, 124, 12, typeof size === 'number' ? size.toString(8).padStart(11, '0') : size)
  put(block, 136, 12, MTIME.toString(8).padStart(11, '0'))
  put(block, 156, 1, spec.flag ?? '0')
  put(block, 157, NAME_LENGTH, spec.linkName ?? '')
  put(block, 257, 8, spec.magic ?? 'ustar\x0000')
  put(block, 345, 155, spec.prefix ?? '')
  for (const [at, bytes] of Object.entries(spec.bytes ?? {})) block.set(bytes, Number(at))
  block.fill(' ', 148, 156)
  const checksum = spec.checksum ?? block.reduce((sum, byte) => sum + byte, 0)
  put(block, 148, 8, `${checksum.toString(8).padStart(6, '0')}\0 `)
  return block
}

/** Bytes followed by zeros up to the next whole block. */
export function padded(bytes: Buffer): Buffer {
  const rest = bytes.length % BLOCK
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(BLOCK - rest)])
}

function extendedHeader(body: Buffer, flag: string, name: string): Buffer[] {
  return [tarHeader({ name, flag, size: body.length }), padded(body)]
}

/** `LENGTH KEY=VALUE\n`; the length counts its own digits. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`)
  let length = rest.length + 1
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length
  return Buffer.concat([Buffer.from(`${length}`), rest])
}

function fits(text: string): boolean {
  return Buffer.byteLength(text) <= NAME_LENGTH
}

function put(block: Buffer, at: number, length: number, value: string | Uint8Array): void {
  Buffer.from(value).copy(block, at, 0, length)
}
