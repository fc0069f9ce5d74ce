/** What was read of an image, as `cdp scan` shows it: for people, and as JSON. */
import type { ImageInspection, Platform } from '../compose.ts'

const COLUMN_GAP = '  '
const KIB = 1024
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** Bytes in the largest unit that leaves at least 1, with one decimal: `9.6 MiB`. */
export function formatBytes(bytes: number): string {
  const unit = bytes < 1 ? 0 : Math.min(Math.floor(Math.log(bytes) / Math.log(KIB)), UNITS.length - 1)
  return unit === 0 ? `${bytes} B` : `${(bytes / KIB ** unit).toFixed(1)} ${UNITS[unit]}`
}

function platformText({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`
}

/** A package's name as its own ecosystem writes it. */
function packageName(type: string, namespace: string | null, name: string): string {
  if (namespace === null) return name
  return `${namespace}${type === 'maven' ? ':' : '/'}${name}`
}

/** The document of `cdp scan --json`; its shape is in docs/command-line.md, and only grows. */
export function imageDocument(name: string, inspection: ImageInspection) {
  const { image, service, gitUrl, scan, scannerVersion, files, packages, problems } = inspection
  return {
    image: name,
    digest: image.digest,
    manifestDigest: image.manifestDigest,
    configDigest: image.config.digest,
    mediaType: image.mediaType,
    platform: platformText(image.platform),
    created: image.config.created,
    serviceName: service,
    githubUrl: gitUrl,
    labels: image.config.labels,
    scan,
    scannerVersion,
    problems,
    layers: image.layers.map(({ digest, diffId, mediaType, size }, index) => ({
      digest,
      diffId,
      mediaType,
      size,
      uncompressedSize: inspection.layers[index]?.uncompressedBytes ?? null
    })),
    packages: packages.map(({ purl, type, namespace, name, version, evidence, locations }) => ({
      purl,
      type,
      namespace,
      name,
      version,
      evidence,
      locations: locations.map(({ path, layer }) => ({ path, layerSha256: layer }))
    })),
    files: files.map(({ path, size, layer }) => ({ path, size, layerSha256: layer }))
  }
}

/** The report for people: lines, the last one ended. */
export function imageReport(name: string, inspection: ImageInspection): string {
  const { image, service, gitUrl, scan, layers, files, packages, problems } = inspection
  const sections = [
    pairs([
      ['image', name],
      ['digest', image.digest],
      ...(image.manifestDigest === image.digest ? [] : [['manifest', image.manifestDigest] as const]),
      ['platform', platformText(image.platform)],
      ['created', image.config.created ?? 'not said'],
      ['service', service ?? 'no label names one'],
      ['source', gitUrl ?? 'no label names one'],
      ['scan', scan]
    ]),
    titled('labels', pairs(Object.entries(image.config.labels).sort())),
    titled(
      `layers (${image.layers.length}, the lowest first)`,
      table(
        image.layers.map(({ digest, size }, index) => {
          const uncompressed = layers[index]?.uncompressedBytes
          return [
            digest,
            formatBytes(size),
            uncompressed === undefined ? 'not read' : `${formatBytes(uncompressed)} unpacked`
          ]
        })
      )
    ),
    ...[...Map.groupBy(packages, ({ type }) => type)].map(([type, those]) =>
      titled(
        `${type} packages (${those.length})`,
        table(
          those.map((one) => {
            const [first, ...others] = one.locations.map(({ path }) => path)
            const where = others.length === 0 ? first : `${first} and ${others.length} more`
            return [packageName(type, one.namespace, one.name), one.version, one.evidence, where ?? '']
          })
        )
      )
    ),
    titled(`files kept (${files.length})`, table(files.map(({ path, size }) => [path, formatBytes(size)]))),
    titled(`problems (${problems.length})`, problems)
  ]
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`
}

/** What comes from an image may hold control characters, which a terminal would obey. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, '\ufffd')
}

function pairs(rows: readonly (readonly [string, string])[]): string[] {
  return table(rows)
}

function titled(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `  ${printable(line)}`)]
}

/** Columns as wide as their longest text; the last one as it is. */
function table(rows: readonly (readonly string[])[]): string[] {
  const clean = rows.map((row) => row.map(printable))
  const widths: number[] = []
  for (const row of clean) for (const [at, text] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, text.length)
  return clean.map((row) =>
    row.map((text, at) => (at === row.length - 1 ? text : text.padEnd(widths[at] ?? 0))).join(COLUMN_GAP)
  )
}
