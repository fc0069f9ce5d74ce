import type { Digest } from '../domain/digest.ts'
import type { LayerLimits } from '../layers/layers.ts'
import { type ImageSource, type Platform, type ResolvedImage, resolveImage } from '../registry/registry.ts'
import type { ExtractionRecord, FoundPackage, ImageFile, LayerRecord, ScanState } from '../store/port.ts'
import { type LabelNames, labelsOf } from './labels.ts'
import { createImageReader, type LayerShelf } from './read-image.ts'

/** A package, and every file of the final file system that names it. */
export interface InspectedPackage extends FoundPackage {
  readonly locations: readonly { readonly path: string; readonly layer: Digest }[]
}

/** All that is known of one image once it is read. */
export interface ImageInspection {
  readonly image: ResolvedImage
  readonly service: string | null
  readonly gitUrl: string | null
  readonly scan: ScanState
  readonly scannerVersion: number
  /** The layers in their order; null for one that could not be read. */
  readonly layers: readonly (LayerRecord | null)[]
  /** The files that were kept, by path. */
  readonly files: readonly ImageFile[]
  /** By type, then namespace, name and version, in the order of code units. */
  readonly packages: readonly InspectedPackage[]
  /** Why the scan is not complete, a sentence each. */
  readonly problems: readonly string[]
}

export interface InspectOptions {
  readonly platform: Platform | null
  readonly labels: LabelNames
  readonly limits: Partial<LayerLimits>
  readonly signal?: AbortSignal
  /** Told of the compressed bytes read so far, and of those that there are. */
  readonly onProgress?: (read: number, total: number) => void
}

/**
 * Reads one image as a scan does, and keeps nothing.
 * @throws RegistryError where the image is missing, cannot be reached, or is no container image.
 */
export async function inspectImage(
  source: ImageSource,
  reference: string,
  options: InspectOptions
): Promise<ImageInspection> {
  const { platform, labels, limits, signal, onProgress } = options
  const image = await resolveImage(source, reference, { platform: platform ?? undefined }, signal)
  const reader = createImageReader(createMemoryShelf(), limits)
  const sizes = new Map(image.layers.map(({ digest, size }) => [digest, size]))
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0)
  const read = new Map<Digest, number>()
  const reading = await reader.read(source, image.layers, signal, ({ digest }, bytes) => {
    read.set(digest, bytes)
    onProgress?.(
      [...read.values()].reduce((sum, one) => sum + one, 0),
      total
    )
  })
  const { scan, files } = reading.result
  return {
    image,
    ...labelsOf(image.config.labels, labels),
    scan,
    scannerVersion: reader.scannerVersion,
    layers: reading.layers,
    files,
    packages: packagesOf(files, reading.extractions),
    problems: reading.problems
  }
}

/** What one image needs of a store while it is read: what was found in its files, and no content. */
function createMemoryShelf(): LayerShelf {
  const found = new Map<Digest, ExtractionRecord[]>()
  return {
    layer: async () => null,
    putLayer: async (_layer, _contents, extractions) => {
      for (const extraction of extractions) {
        found.set(extraction.content, [...(found.get(extraction.content) ?? []), extraction])
      }
    },
    putLinkedFiles: async () => {},
    extractions: async (contents) => contents.flatMap((content) => found.get(content) ?? [])
  }
}

/** The packages that the files of the final file system name, each once. */
function packagesOf(files: readonly ImageFile[], extractions: readonly ExtractionRecord[]): InspectedPackage[] {
  const byContent = Map.groupBy(extractions, ({ content }) => content)
  const byPurl = new Map<string, FoundPackage & { locations: { path: string; layer: Digest }[] }>()
  for (const { path, layer, content } of files) {
    for (const found of (byContent.get(content) ?? []).flatMap(({ packages }) => packages)) {
      const known = byPurl.get(found.purl)
      // What one file declares and another shows to be installed is installed.
      const evidence = known?.evidence === 'installed' ? known.evidence : found.evidence
      byPurl.set(found.purl, { ...found, evidence, locations: [...(known?.locations ?? []), { path, layer }] })
    }
  }
  const order = ({ type, namespace, name, version }: FoundPackage) => [type, namespace ?? '', name, version].join('\0')
  return [...byPurl.values()].sort((a, b) => (order(a) < order(b) ? -1 : 1))
}
