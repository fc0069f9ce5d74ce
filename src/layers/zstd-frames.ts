import { Buffer } from 'node:buffer'
import { LayerError } from './layer-error.ts'

const FRAME = 0xfd2fb528
// 0x184d2a50 to 0x184d2a5f: metadata, such as the table of contents of zstd:chunked and eStargz.
const SKIPPABLE = 0x184d2a5
const RLE_BLOCK = 1

/** Whether bytes begin with a skippable frame: as many layers with a table of contents do. */
export function isSkippableFrame(bytes: Buffer): boolean {
  return bytes.length >= 4 && bytes.readUInt32LE() >>> 4 === SKIPPABLE
}

/**
 * Cuts zstd data where its frames end, so that no piece holds bytes of two: https://www.rfc-editor.org/rfc/rfc8878, section 3.1.
 * node:zlib reads one frame of each piece that is written to it and drops the rest in silence; given them one by one it
 * reads all. Blocks state their own length, so nothing has to be decompressed to find the end.
 * Data that end inside a frame are passed on as they are: what decompresses them says so.
 * @throws LayerError `corrupt` where no frame begins.
 */
export async function* splitZstdFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  let skip = 0
  const header = Buffer.alloc(4)
  let filled = 0
  const frames = readFrames()
  let wanted = frames.next().value

  /** Asks for the bytes of the next header, or for none where a frame ends. */
  function* readFrames(): Generator<number, never, Buffer> {
    for (;;) {
      const magic = (yield 4).readUInt32LE()
      if (magic === FRAME) {
        const descriptor = (yield 1).readUInt8()
        const isSingleSegment = (descriptor & 0x20) !== 0
        const windowLength = isSingleSegment ? 0 : 1
        const dictionaryIdLength = [0, 1, 2, 4][descriptor & 3] ?? 0
        const contentSizeLength = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0
        skip = windowLength + dictionaryIdLength + contentSizeLength
        for (let isLast = false; !isLast; ) {
          const block = (yield 3).readUIntLE(0, 3)
          isLast = (block & 1) !== 0
          skip = ((block >> 1) & 3) === RLE_BLOCK ? 1 : block >> 3
        }
        const checksumLength = descriptor & 4
        skip += checksumLength
      } else if (magic >>> 4 === SKIPPABLE) {
        skip = (yield 4).readUInt32LE()
      } else {
        throw new LayerError('corrupt', 'the layer has bytes that are no zstd frame')
      }
      yield 0
    }
  }

  for await (const chunk of source) {
    let start = 0
    let at = 0
    for (;;) {
      const step = Math.min(skip, chunk.length - at)
      skip -= step
      at += step
      if (skip > 0) break
      if (wanted === 0) {
        if (at > start) yield chunk.subarray(start, at)
        start = at
      }
      while (filled < wanted && at < chunk.length) header[filled++] = chunk[at++] ?? 0
      if (filled < wanted) break
      filled = 0
      wanted = frames.next(header.subarray(0, wanted)).value
    }
    if (start < chunk.length) yield chunk.subarray(start)
  }
}
