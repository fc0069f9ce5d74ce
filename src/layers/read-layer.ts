import { createHash } from 'node:crypto'
import { type Digest, digestAlgorithm, digestOf } from '../domain/digest.ts'
import type { FileProbe } from '../domain/file-probe.ts'
import { decompress } from './decompress.ts'
import { LayerError } from './layer-error.ts'
import { DEFAULT_LAYER_LIMITS, type LayerLimits } from './limits.ts'
import type { LayerEntry } from './listing.ts'
import { createProblems, type LayerProblem } from './problems.ts'
import { createTarReader, type TarEntry, type TarHandler } from './tar-reader.ts'

/** A layer as an image names it: the blob in its manifest, the archive inside it (`rootfs.diff_ids`) in its config. */
export interface LayerDescriptor {
  readonly digest: Digest
  /** The digest of the archive when it is decompressed. */
  readonly diffId: Digest
  /** Bytes of the blob. */
  readonly size: number
  readonly mediaType: string
}

export interface ReadLayerOptions {
  /** Whether a file's content shall be kept; asked once for each regular file, with a view of its first bytes. */
  wants(probe: FileProbe): boolean
  readonly limits?: Partial<LayerLimits>
  readonly signal?: AbortSignal
  /** Told of the compressed bytes read so far, after each chunk. */
  onProgress?(compressedBytes: number): void
}

/** A file whose content was kept. */
export interface KeptFile {
  readonly path: string
  readonly size: number
  readonly mode: number
  readonly content: Uint8Array
  /** sha256 of the content. */
  readonly digest: Digest
}

export interface LayerContents {
  /** Every path in the archive's order, whiteouts and opaque markers included, the root excluded. */
  readonly entries: readonly LayerEntry[]
  /** One for each path: where an archive has a path twice, the later one. */
  readonly kept: readonly KeptFile[]
  readonly problems: readonly LayerProblem[]
  readonly compressedBytes: number
  readonly uncompressedBytes: number
}

/**
 * Reads a layer to its end: its bytes are counted and hashed, decompressed, hashed again, and read as a tar archive, of which
 * every path is listed and the content of the wanted files kept. Nothing else is held: memory does not grow with the layer.
 * Markers are those of https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts.
 *
 * Whatever is returned is verified in size, digest and diffId. Where a layer is damaged the blob is read on to its end, so that
 * damage on the way here (`size-mismatch`, `digest-mismatch`) can be told from a layer that was made so.
 * @param blob is left early on a limit or a timeout. One that hangs then has to be ended by the caller's own signal.
 * @throws LayerError; what the blob or `wants` throws.
 */
export async function readLayer(
  blob: AsyncIterable<Uint8Array>,
  layer: LayerDescriptor,
  options: ReadLayerOptions
): Promise<LayerContents> {
  const limits: LayerLimits = { ...DEFAULT_LAYER_LIMITS, ...options.limits }
  const stop = new AbortController()
  const stopped = new Promise<never>((_, reject) => {
    stop.signal.addEventListener('abort', () => reject(stop.signal.reason))
  })
  const onAbort = () => {
    stop.abort(new LayerError('aborted', 'the reading was aborted', { cause: options.signal?.reason }))
  }
  const timer = setTimeout(() => {
    stop.abort(new LayerError('timeout', `the layer was not read within ${limits.seconds} seconds`))
  }, limits.seconds * 1000)
  options.signal?.addEventListener('abort', onAbort)
  if (options.signal?.aborted) onAbort()
  try {
    // A race, since the blob may hang where no signal reaches it.
    return await Promise.race([stopped, readVerified(blob, layer, options, limits, stop.signal)])
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', onAbort)
  }
}

async function readVerified(
  blob: AsyncIterable<Uint8Array>,
  layer: LayerDescriptor,
  options: ReadLayerOptions,
  limits: LayerLimits,
  signal: AbortSignal
): Promise<LayerContents> {
  signal.throwIfAborted()
  const compressed = verifyBlob(blob, layer, options.onProgress)
  const contents = collectContents(options.wants, limits)
  const archive = createTarReader(contents, limits)
  const hash = createHash(digestAlgorithm(layer.diffId))
  let uncompressedBytes = 0
  try {
    for await (const chunk of decompress(keptOpen(compressed), layer.mediaType)) {
      signal.throwIfAborted()
      uncompressedBytes += chunk.length
      if (uncompressedBytes > limits.uncompressedBytes) {
        throw new LayerError('limit', `the layer inflates to more than ${limits.uncompressedBytes} bytes`, {
          limit: 'uncompressedBytes'
        })
      }
      hash.update(chunk)
      archive.push(chunk)
    }
    archive.end()
    // What decompresses may be done before the last byte, which counts all the same.
    await drain(compressed)
    if (`${digestAlgorithm(layer.diffId)}:${hash.digest('hex')}` !== layer.diffId) {
      throw new LayerError('diff-id-mismatch', `the archive in the layer is not ${layer.diffId}`)
    }
    return { ...contents.done(), compressedBytes: layer.size, uncompressedBytes }
  } catch (error) {
    const isDamage = error instanceof LayerError && (error.code === 'corrupt' || error.code === 'truncated')
    if (isDamage) await drain(compressed)
    throw error
  } finally {
    // Not awaited: a blob that hangs would be waited for, and what it says now no longer matters.
    compressed.return().catch(() => {})
  }
}

/** The blob as it comes; throws at its end unless its size and digest are those of the descriptor. */
async function* verifyBlob(
  blob: AsyncIterable<Uint8Array>,
  layer: LayerDescriptor,
  onProgress: ReadLayerOptions['onProgress']
): AsyncGenerator<Uint8Array, void, void> {
  const hash = createHash(digestAlgorithm(layer.digest))
  let bytes = 0
  for await (const chunk of blob) {
    bytes += chunk.length
    // A registry that sends without end is left at the first byte too many.
    if (bytes > layer.size) break
    hash.update(chunk)
    onProgress?.(bytes)
    yield chunk
  }
  if (bytes !== layer.size) {
    const length = bytes > layer.size ? `more than the ${layer.size}` : `${bytes} of the ${layer.size}`
    throw new LayerError('size-mismatch', `the layer has ${length} bytes that its descriptor states`)
  }
  if (`${digestAlgorithm(layer.digest)}:${hash.digest('hex')}` !== layer.digest) {
    throw new LayerError('digest-mismatch', `the layer's bytes are not ${layer.digest}`)
  }
}

/** The same bytes, for readers that may stop before the end without closing what they read from. */
function keptOpen(source: AsyncGenerator<Uint8Array, void, void>): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => ({ next: () => source.next() }) }
}

async function drain(source: AsyncGenerator<Uint8Array, void, void>): Promise<void> {
  for (let step = await source.next(); !step.done; ) step = await source.next()
}

const WHITEOUT = '.wh.'
const OPAQUE = '.wh..wh..opq'
const METADATA = '.wh..wh.'
// `.wh...` would remove the directory above.
const NO_NAME = new Set(['', '.', '..'])

/** Takes what the archive tells: lists every path, keeps what is wanted, and turns markers into entries of their own. */
function collectContents(wants: ReadLayerOptions['wants'], limits: LayerLimits) {
  const entries: LayerEntry[] = []
  const kept = new Map<string, KeptFile>()
  const problems = createProblems(limits.problems)
  let pathBytes = 0
  let keptBytes = 0

  function list(entry: LayerEntry): void {
    pathBytes += entry.path.length + (entry.linkTarget?.length ?? 0)
    if (pathBytes > limits.pathBytes) {
      throw new LayerError('limit', `the paths in the layer have more than ${limits.pathBytes} bytes`, {
        limit: 'pathBytes'
      })
    }
    entries.push(entry)
  }

  function refusal(size: number): string | null {
    if (size > limits.fileBytes) return `the file has ${size} bytes, more than the ${limits.fileBytes} that are read`
    if (kept.size >= limits.keptFiles) return `the layer has more than the ${limits.keptFiles} files that are read`
    if (keptBytes + size > limits.keptBytes)
      return `the files to read have more than ${limits.keptBytes} bytes together`
    return null
  }

  function isKept(entry: TarEntry, firstBytes: Uint8Array): boolean {
    if (!wants({ path: entry.path, size: entry.size, mode: entry.mode, firstBytes })) return false
    const reason = refusal(entry.size)
    if (reason !== null) problems.add(entry.path, reason)
    return reason === null
  }

  return {
    entry(entry: TarEntry, firstBytes: Uint8Array): boolean {
      const { path, type, size, linkTarget } = entry
      if (path === '') return false
      const slash = path.lastIndexOf('/')
      const name = path.slice(slash + 1)
      const directory = path.slice(0, Math.max(slash, 0))
      if (type === 'file' && name.startsWith(WHITEOUT) && (name === OPAQUE || !name.startsWith(METADATA))) {
        const removed = name.slice(WHITEOUT.length)
        if (name === OPAQUE) list({ path: directory, type: 'opaque', size: 0 })
        else if (!NO_NAME.has(removed)) list({ path: path.slice(0, slash + 1) + removed, type: 'whiteout', size: 0 })
        else problems.add(path, 'the whiteout removes nothing that can have a name')
        return false
      }
      // What an earlier entry of this path held is replaced.
      keptBytes -= kept.get(path)?.size ?? 0
      kept.delete(path)
      list(linkTarget === null ? { path, type, size } : { path, type, size, linkTarget })
      return type === 'file' && isKept(entry, firstBytes)
    },
    file({ path, size, mode }: TarEntry, content: Uint8Array): void {
      keptBytes += size
      kept.set(path, { path, size, mode, content, digest: digestOf(content) })
    },
    problem: problems.add,
    done: () => ({ entries, kept: [...kept.values()], problems: problems.list() })
  } satisfies TarHandler & Record<'done', unknown>
}
