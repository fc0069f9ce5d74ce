/**
 * From the layers of an image to the files and packages on its final file system. A layer that the shelf holds is never
 * fetched, a content that it holds is never parsed.
 */
import type { Digest } from '../domain/digest.ts'
import { ExtractorError, extractors, extractorsOf, isWanted } from '../extractors/extractors.ts'
import {
  decodeListing,
  encodeListing,
  type LayerDescriptor,
  LayerError,
  type LayerLimits,
  type Overlay,
  type OverlayLimits,
  overlay,
  readLayer
} from '../layers/layers.ts'
import { type ImageSource, isPassing, RegistryError } from '../registry/registry.ts'
import type {
  ContentRecord,
  ExtractionRecord,
  ImageFile,
  ImageRecord,
  LayerRecord,
  ScanState,
  Store
} from '../store/port.ts'

/** Where layers that were read before are found: the store, or nothing. */
export type LayerShelf = Pick<Store, 'layer' | 'putLayer' | 'putLinkedFiles' | 'extractions'>

/** What was read of an image. */
export interface ImageReading {
  readonly result: Pick<ImageRecord, 'scan' | 'scanError' | 'files'>
  /** The layers in their order; null for one that could not be read. */
  readonly layers: readonly (LayerRecord | null)[]
  /** What the extractors found in the files, by content. */
  readonly extractions: readonly ExtractionRecord[]
  /** Everything that was left out or could not be read, of which the result's error is the short form. */
  readonly problems: readonly string[]
  /** Layers that had to be fetched. */
  readonly fetched: number
}

export interface ImageReader {
  /** Grows with every change of what is read: the sum of all extractors' versions and the reader's own. */
  readonly scannerVersion: number
  /**
   * Reads an image's layers. A layer that is damaged or breaks a limit is left out, and the result says so.
   * @throws RegistryError where the registry is away or lets nobody in: what it does not give now it may give later; StoreError.
   */
  read(
    source: ImageSource,
    layers: readonly LayerDescriptor[],
    signal?: AbortSignal,
    onProgress?: (layer: LayerDescriptor, compressedBytes: number) => void
  ): Promise<ImageReading>
}

/** Raised with every change of what is kept of a layer. */
const READER_VERSION = 1
/** Layers of one image that are read at once: two cores decompress. */
const LAYERS_AT_ONCE = 2
/** A layer whose bytes are not what they should be is fetched once more: they may have been damaged on their way. */
const FETCHES_OF_A_DAMAGED_LAYER = 2
/** Reasons that a scan's error spells out. */
const REASONS_SHOWN = 3

interface Failure {
  readonly layer: Digest
  readonly reason: string
}

/** Whether a layer may well be readable later: the registry is away, or credentials ran out that somebody will renew. */
function isWorthAnotherScan(error: RegistryError): boolean {
  return isPassing(error) || error.code === 'unauthorized'
}

function isDamaged(error: unknown): boolean {
  // The source counts the bytes, the layer's reader hashes them.
  if (error instanceof RegistryError) return error.code === 'digest-mismatch'
  return error instanceof LayerError && ['digest-mismatch', 'size-mismatch'].includes(error.code)
}

/** Runs `work` on each item, at most so many at once, and answers in the items' order. The first failure ends the others. */
async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T, signal: AbortSignal) => Promise<R>,
  outer?: AbortSignal
): Promise<R[]> {
  const stop = new AbortController()
  const signal = outer === undefined ? stop.signal : AbortSignal.any([stop.signal, outer])
  const results: R[] = []
  const queue = items.entries()
  async function worker(): Promise<void> {
    for (const [index, item] of queue) results[index] = await work(item, signal)
  }
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, () =>
    worker().catch((error: unknown) => stop.abort(error))
  )
  // All have ended when this does: nothing of it may reach for a store or a registry that is closed by then.
  await Promise.all(workers)
  stop.signal.throwIfAborted()
  return results
}

/** The final file system; null with the reason where it is beyond a limit. */
function overlayWithin(
  records: readonly (LayerRecord | null)[],
  limits: Partial<OverlayLimits>
): { readonly final: Overlay | null; readonly problem: string | null } {
  const layers = records.map((record) => (record === null ? [] : decodeListing(record.listing)))
  try {
    return { final: overlay(layers, limits), problem: null }
  } catch (error) {
    if (!(error instanceof LayerError)) throw error
    return { final: null, problem: error.message }
  }
}

/** @param limits what one layer may cost, and all of an image's layers on top of each other. */
export function createImageReader(shelf: LayerShelf, limits: Partial<LayerLimits & OverlayLimits>): ImageReader {
  const scannerVersion = extractors.reduce((sum, extractor) => sum + extractor.version, READER_VERSION)

  async function extract(content: Digest, bytes: Uint8Array, path: string): Promise<ExtractionRecord[]> {
    const known = await shelf.extractions([content])
    const probe = { path, size: bytes.length, mode: 0, firstBytes: bytes.subarray(0, 256) }
    const records: ExtractionRecord[] = []
    for (const { name, version, extract: read } of extractorsOf(probe)) {
      if (known.some((record) => record.extractor === name && record.extractorVersion === version)) continue
      const record = { content, extractor: name, extractorVersion: version }
      try {
        const { packages } = await read(bytes)
        records.push({ ...record, packages, error: null })
      } catch (error) {
        if (!(error instanceof ExtractorError)) throw error
        records.push({ ...record, packages: [], error: error.message })
      }
    }
    return records
  }

  async function fetchLayer(
    source: ImageSource,
    layer: LayerDescriptor,
    signal: AbortSignal,
    onProgress?: (layer: LayerDescriptor, compressedBytes: number) => void
  ): Promise<LayerRecord> {
    const contents = await readLayer(source.blob(layer, signal), layer, {
      wants: isWanted,
      limits,
      signal,
      onProgress: (bytes) => onProgress?.(layer, bytes)
    })
    const extractions: ExtractionRecord[] = []
    for (const file of contents.kept) extractions.push(...(await extract(file.digest, file.content, file.path)))
    const record: LayerRecord = {
      digest: layer.digest,
      diffId: layer.diffId,
      scannerVersion,
      listing: encodeListing(contents.entries),
      files: contents.kept.map(({ path, digest, size, mode }) => ({ path, content: digest, size, mode })),
      problems: contents.problems,
      compressedBytes: contents.compressedBytes,
      uncompressedBytes: contents.uncompressedBytes
    }
    const kept: ContentRecord[] = contents.kept.map(({ digest, content }) => ({ digest, bytes: content }))
    await shelf.putLayer(record, kept, extractions)
    return record
  }

  return {
    scannerVersion,

    async read(source, layers, signal, onProgress) {
      const failures: Failure[] = []
      let fetched = 0
      const distinct = [...new Map(layers.map((layer) => [layer.digest, layer])).values()]

      async function readOne(layer: LayerDescriptor, stop: AbortSignal): Promise<LayerRecord | null> {
        const known = await shelf.layer(layer.digest)
        if (known !== null && known.scannerVersion === scannerVersion && known.diffId === layer.diffId) return known
        fetched += 1
        for (let attempt = 1; ; attempt++) {
          try {
            return await fetchLayer(source, layer, stop, onProgress)
          } catch (error) {
            stop.throwIfAborted()
            if (isDamaged(error) && attempt < FETCHES_OF_A_DAMAGED_LAYER) continue
            const isLasting =
              error instanceof LayerError || (error instanceof RegistryError && !isWorthAnotherScan(error))
            if (!isLasting) throw error
            failures.push({ layer: layer.digest, reason: error.message })
            return null
          }
        }
      }

      const read = await inParallel(distinct, LAYERS_AT_ONCE, readOne, signal)
      const byDigest = new Map(distinct.map((layer, index) => [layer.digest, read[index] ?? null]))
      const records = layers.map((layer) => byDigest.get(layer.digest) ?? null)
      const { final, problem } = overlayWithin(records, limits)
      const { files, linked, lost } = finalFiles(records, final?.files ?? new Map())
      if (linked.length > 0) await shelf.putLinkedFiles(linked)
      const extractions = (await shelf.extractions([...new Set(files.map((file) => file.content))])).filter(isCurrent)

      const problems = [
        ...failures.map(({ layer, reason }) => `layer ${layer}: ${reason}`),
        ...[...new Set(records)].flatMap((record) => record?.problems ?? []).map(describe),
        ...(problem === null ? [] : [problem]),
        ...(final?.problems ?? []).map(describe),
        ...lost.map(describe),
        ...unreadable(files, extractions)
      ]
      const scan: ScanState =
        problems.length === 0
          ? 'complete'
          : final === null || (records.length > 0 && records.every((record) => record === null))
            ? 'failed'
            : 'partial'
      return { result: { scan, scanError: summary(problems), files }, layers: records, extractions, problems, fetched }
    }
  }
}

/** Whether the extractor's present version found it. */
function isCurrent(record: ExtractionRecord): boolean {
  return extractors.some(({ name, version }) => name === record.extractor && version === record.extractorVersion)
}

interface FinalFiles {
  /** The kept files that the final file system shows, by path. */
  readonly files: ImageFile[]
  /** Those of them whose content a layer keeps under another name, as links have it. */
  readonly linked: ImageFile[]
  /** Links to files that nobody wanted under their own names, so that their content was not kept. */
  readonly lost: { readonly path: string; readonly reason: string }[]
}

function finalFiles(layers: readonly (LayerRecord | null)[], paths: ReturnType<typeof overlay>['files']): FinalFiles {
  const kept = layers.map((layer) => new Map(layer?.files.map((file) => [file.path, file])))
  const found: FinalFiles = { files: [], linked: [], lost: [] }
  for (const { path, layer, size, content: place } of paths.values()) {
    const holder = layers[layer]
    if (place === null || !holder) continue
    const isLinked = place.layer !== layer || place.path !== path
    const source = kept[place.layer]?.get(place.path)
    if (source !== undefined) {
      const file = { path, layer: holder.digest, content: source.content, size: source.size }
      found.files.push(file)
      if (isLinked) found.linked.push(file)
    } else if (isLinked && isWanted({ path, size, mode: 0, firstBytes: new Uint8Array() })) {
      found.lost.push({ path, reason: `its content was not kept, since it is a link to ${place.path}` })
    }
  }
  found.files.sort((a, b) => (a.path < b.path ? -1 : 1))
  return found
}

function describe({ path, reason }: { readonly path: string | null; readonly reason: string }): string {
  return path === null ? reason : `${path}: ${reason}`
}

/** The files that an extractor could not read, each with the reason. */
function unreadable(files: readonly ImageFile[], extractions: readonly ExtractionRecord[]): string[] {
  const faults = new Map(
    extractions.flatMap(({ content, error }) => (error === null ? [] : [[content, error] as const]))
  )
  return files.flatMap(({ path, content }) => {
    const error = faults.get(content)
    return error === undefined ? [] : [`${path}: ${error}`]
  })
}

/** One sentence for all problems; null where there is none. */
function summary(problems: readonly string[]): string | null {
  if (problems.length === 0) return null
  const more = problems.length - REASONS_SHOWN
  return problems.slice(0, REASONS_SHOWN).join('; ') + (more > 0 ? `; and ${more} more` : '')
}
