import { Buffer } from 'node:buffer'
import { type Duplex, PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createGunzip, createZstdDecompress } from 'node:zlib'
import { LayerError } from './layer-error.ts'
import { isSkippableFrame, splitZstdFrames } from './zstd-frames.ts'

// zlib works in a thread of its own, and each turn there and back costs as much as inflating some kilobytes: so the pieces are
// large either way. Larger ones bring nothing.
const GATHERED_BYTES = 256 * 1024
const CHUNK_BYTES = 512 * 1024
// The memory that a zstd frame may ask for: 2^27 bytes, what the zstd command accepts without being told to accept more.
const ZSTD_WINDOW_LOG = 27

type Form = 'gzip' | 'zstd' | 'bzip2' | 'xz' | 'tar'

const MAGIC: readonly (readonly [Form, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]]
]

/**
 * The archive inside a layer's blob: gzip with all its members, zstd with all its frames, or the archive as it is. The first
 * bytes decide, as with the container runtimes: media types are often wrong, since every pusher writes its own.
 * @throws LayerError `truncated`, `corrupt` or `unsupported`; what the source throws.
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  mediaType: string
): AsyncGenerator<Uint8Array, void, void> {
  if (mediaType.endsWith('+encrypted')) throw new LayerError('unsupported', 'the layer is encrypted')
  const pieces = gather(source)
  const first = await pieces.next()
  const start = first.done ? Buffer.alloc(0) : first.value
  const form = formOf(start)
  if (form === 'bzip2' || form === 'xz') throw new LayerError('unsupported', `the layer is compressed with ${form}`)
  const engine = engineFor(form)
  const whole = startingWith(start, pieces)
  // Nothing to do when it fails: an error of any stage destroys the engine, and comes out of the loop below.
  pipeline(form === 'zstd' ? splitZstdFrames(whole) : whole, engine).catch(() => {})
  try {
    yield* engine
  } catch (error) {
    throw engineError(error)
  }
}

/** The same bytes in pieces of at least GATHERED_BYTES, but for the last. */
async function* gather(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void, void> {
  let chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of source) {
    chunks.push(chunk)
    length += chunk.length
    if (length < GATHERED_BYTES) continue
    yield Buffer.concat(chunks, length)
    chunks = []
    length = 0
  }
  if (length > 0) yield Buffer.concat(chunks, length)
}

async function* startingWith(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  yield first
  yield* rest
}

function formOf(start: Buffer): Form {
  const known = MAGIC.find(([, magic]) => magic.every((byte, index) => start[index] === byte))
  return known?.[0] ?? (isSkippableFrame(start) ? 'zstd' : 'tar')
}

function engineFor(form: 'gzip' | 'zstd' | 'tar'): Duplex {
  switch (form) {
    case 'gzip':
      return createGunzip({ chunkSize: CHUNK_BYTES })
    case 'zstd':
      return createZstdDecompress({
        chunkSize: CHUNK_BYTES,
        params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG }
      })
    case 'tar':
      return new PassThrough()
  }
}

/** What zlib says, in this part's terms; any other error is the source's own and stays. */
function engineError(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'Z_BUF_ERROR')
    return new LayerError('truncated', 'the layer ends inside its compressed data', { cause: error })
  if (code === 'ZSTD_error_frameParameter_windowTooLarge') {
    return new LayerError('unsupported', `the layer needs more than 2^${ZSTD_WINDOW_LOG} bytes to decompress`, {
      cause: error
    })
  }
  if (code.startsWith('ZSTD_error_') || code === 'Z_DATA_ERROR' || code === 'Z_NEED_DICT') {
    return new LayerError('corrupt', 'the layer cannot be decompressed', { cause: error })
  }
  return error
}
