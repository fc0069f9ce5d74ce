import { Buffer } from 'node:buffer'
import { LayerError } from './layer-error.ts'
import type { LayerLimits } from './limits.ts'
import { normalisePath } from './paths.ts'
import { type PaxRecords, readPaxRecords } from './pax.ts'
import { BLOCK_SIZE, isZeroBlock, readTarHeader, type TarHeader, textUpToNul } from './tar-header.ts'

/** An entry of an archive; `other` is a device or a pipe. */
export interface TarEntry {
  /** As `normalisePath` cleans it; the root is the empty string. */
  readonly path: string
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'other'
  /** Bytes of content; those of a sparse file with its holes. 0 for everything that is no file. */
  readonly size: number
  readonly mode: number
  /** Of a symbolic link as it is written; of a hard link a path as `path` is one. */
  readonly linkTarget: string | null
}

export interface TarHandler {
  /**
   * Told of each entry in the archive's order.
   * @param firstBytes up to FIRST_BYTES of a file's content, valid until this returns; empty for anything else.
   * @returns whether `file` shall be called with the content; heeded for files only.
   */
  entry(entry: TarEntry, firstBytes: Uint8Array): boolean
  /** The whole content of a file that was wanted, in a buffer of its own. */
  file(entry: TarEntry, content: Uint8Array): void
  /** An entry, or its content, that is left out. */
  problem(path: string | null, reason: string): void
}

export const FIRST_BYTES = 256

const NOTHING = Buffer.alloc(0)
const PAX = 'x'
const SOLARIS_PAX = 'X'
const PAX_GLOBAL = 'g'
const LONG_NAME = 'L'
const LONG_LINK = 'K'
const VOLUME_LABEL = 'V'
const TYPES = new Map<string, TarEntry['type']>([
  ['0', 'file'],
  ['\0', 'file'],
  ['7', 'file'],
  ['S', 'file'],
  ['1', 'hardlink'],
  ['2', 'symlink'],
  ['3', 'other'],
  ['4', 'other'],
  ['5', 'directory'],
  ['6', 'other'],
  // GNU's directory with a list of its files as content, of incremental archives.
  ['D', 'directory']
])
// These have no content, whatever their size says.
const WITHOUT_CONTENT = '123456'

/** What the extended headers before an entry say of it. */
interface Extended {
  readonly pax: PaxRecords
  readonly longName: string | null
  readonly longLink: string | null
}

const NOT_EXTENDED: Extended = { pax: { isSparse: false }, longName: null, longLink: null }

/**
 * Reads a tar archive as its bytes come: ustar, PAX, GNU, star and V7. It works on whole chunks, and steps over what nobody
 * wants without a copy. Where readers differ it does what Go's archive/tar does, since with that the container runtimes
 * unpack: another reading would tell of other files than those that run (docs/decisions/0006-own-tar-reader.md).
 *
 * Global PAX headers are checked and, as by the runtimes, not applied; one that names a path or a size is a problem.
 * @throws LayerError `corrupt`, `truncated` or `limit`, from `push` and `end`.
 */
export function createTarReader(
  handler: TarHandler,
  limits: Pick<LayerLimits, 'entries' | 'headerBytes' | 'nameBytes'>
) {
  // What the reader may step over before it reads on, and how much of that only fills the last block.
  let skip = 0
  let padding = 0
  // Whether the archive may end here: between two entries.
  let mayEnd = true
  let done = false
  // Bytes of the next read that came with earlier chunks.
  let partial = NOTHING
  let filled = 0

  const reading = read()
  let wanted = reading.next().value ?? 0

  /** Steps over content; what fills its last block may be missing at the very end. */
  function pass(bytes: number, blocksOf: number): void {
    padding = (BLOCK_SIZE - (blocksOf % BLOCK_SIZE)) % BLOCK_SIZE
    skip = bytes + padding
  }

  /** The format, as a routine that asks for the number of bytes it needs next and is given them in one piece. */
  function* read(): Generator<number, void, Buffer> {
    let extended = NOT_EXTENDED
    let headers = 0
    for (;;) {
      mayEnd = extended === NOT_EXTENDED
      const block = yield BLOCK_SIZE
      if (block[0] === 0 && isZeroBlock(block)) {
        if (!isZeroBlock(yield BLOCK_SIZE)) throw new LayerError('corrupt', 'an entry follows the end of the archive')
        return
      }
      mayEnd = false
      const header = readTarHeader(block)
      // Extended headers count as well: an archive of nothing else would never end otherwise.
      if (++headers > limits.entries) {
        throw new LayerError('limit', `the layer has more than ${limits.entries} entries`, { limit: 'entries' })
      }
      switch (header.flag) {
        case PAX:
        case SOLARIS_PAX:
          extended = { ...extended, pax: readPaxRecords(yield* extendedHeader(header)) }
          break
        case PAX_GLOBAL: {
          const { path, linkPath, size } = readPaxRecords(yield* extendedHeader(header))
          if (path !== undefined || linkPath !== undefined || size !== undefined) {
            handler.problem(null, 'a global PAX header names a path or a size; no container runtime heeds it')
          }
          break
        }
        case LONG_NAME:
          extended = { ...extended, longName: textUpToNul(yield* extendedHeader(header)) }
          break
        case LONG_LINK:
          extended = { ...extended, longLink: textUpToNul(yield* extendedHeader(header)) }
          break
        default:
          yield* entry(header, extended)
          extended = NOT_EXTENDED
      }
    }
  }

  function* extendedHeader(header: TarHeader): Generator<number, Buffer, Buffer> {
    if (header.size > limits.headerBytes) {
      throw new LayerError('limit', `an extended header has ${header.size} bytes, more than ${limits.headerBytes}`, {
        limit: 'headerBytes'
      })
    }
    const bytes = yield header.size
    pass(0, header.size)
    return bytes
  }

  function* entry(header: TarHeader, { pax, longName, longLink }: Extended): Generator<number, void, Buffer> {
    const isSparse = header.sparse !== null || pax.isSparse
    for (let more = header.sparse?.extended ?? false; more; ) more = (yield BLOCK_SIZE)[504] !== 0
    const onTape = WITHOUT_CONTENT.includes(header.flag) ? 0 : (pax.size ?? header.size)
    pass(onTape, onTape)
    if (header.flag === VOLUME_LABEL) return

    const name = longName ?? pax.path ?? header.name
    const link = longLink ?? pax.linkPath ?? header.linkName
    const type = TYPES.get(header.flag)
    if (type === undefined) {
      handler.problem(name, `entries of type ${JSON.stringify(header.flag)} are not read`)
      return
    }
    const refusal =
      nameProblem(name, limits) ?? (type === 'symlink' || type === 'hardlink' ? nameProblem(link, limits) : null)
    const path = normalisePath(name)
    const target = type === 'hardlink' ? normalisePath(link) : type === 'symlink' ? link : null
    if (refusal !== null || path === null || (type === 'hardlink' && target === null)) {
      handler.problem(name, refusal ?? `the ${path === null ? 'path' : 'link target'} leads out of the image`)
      return
    }
    // Before there was a type for it, a directory was a file whose name ends in a slash.
    const isFile = type === 'file' && !name.endsWith('/')
    const size = isFile ? (header.sparse?.realSize ?? pax.sparseSize ?? onTape) : 0
    const told: TarEntry = {
      path,
      type: type === 'file' && !isFile ? 'directory' : type,
      size,
      mode: header.mode,
      linkTarget: target
    }
    if (!isFile || isSparse) {
      const isWanted = handler.entry(told, NOTHING)
      // What lies on tape is pieces and a map of where they go. No image builder writes such archives.
      if (isFile && isWanted) handler.problem(path, 'the content of a sparse file is not read')
      return
    }
    skip = 0
    const first = yield Math.min(size, FIRST_BYTES)
    if (!handler.entry(told, first)) {
      pass(size - first.length, size)
      return
    }
    const content = new Uint8Array(size)
    content.set(first)
    content.set(yield size - first.length, first.length)
    pass(0, size)
    handler.file(told, content)
  }

  function advance(bytes: Buffer): void {
    const step = reading.next(bytes)
    if (step.done) done = true
    else wanted = step.value
  }

  return {
    /** The next bytes of the archive, in chunks of any length. What follows the end of the archive is ignored. */
    push(chunk: Uint8Array): void {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
      let at = 0
      while (!done) {
        if (skip > 0) {
          const step = Math.min(skip, bytes.length - at)
          skip -= step
          at += step
          if (skip > 0) return
        }
        if (filled === 0 && bytes.length - at >= wanted) {
          at += wanted
          advance(bytes.subarray(at - wanted, at))
          continue
        }
        if (at === bytes.length) return
        // Only what crosses two chunks is copied. The buffer is new each time: what was handed out stays as it is.
        if (filled === 0) partial = Buffer.allocUnsafe(wanted)
        const copied = bytes.copy(partial, filled, at)
        filled += copied
        at += copied
        if (filled < wanted) return
        filled = 0
        advance(partial)
      }
    },
    /** Says that nothing follows. @throws LayerError `truncated` where the archive ends inside an entry. */
    end(): void {
      // An archive may end without its two blocks of zeros, and without what fills the last block of its last entry.
      if (!done && (!mayEnd || filled > 0 || skip > padding)) {
        throw new LayerError('truncated', 'the archive ends inside an entry')
      }
    }
  }
}

function nameProblem(name: string, limits: Pick<LayerLimits, 'nameBytes'>): string | null {
  // The linker of the kernel cannot make such a name either; only PAX can write one.
  if (name.includes('\0')) return 'the name has a NUL in it'
  const tooLong = name.length > limits.nameBytes || Buffer.byteLength(name) > limits.nameBytes
  return tooLong ? `the name has more than ${limits.nameBytes} bytes` : null
}
