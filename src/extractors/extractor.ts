import type { FileProbe } from '../domain/file-probe.ts'

/**
 * How sure it is that a package is there. `installed`: what was read is the package itself, or says of itself what is there;
 * `declared`: a lock file or manifest names it.
 */
export type Evidence = 'installed' | 'declared'

/** A package that a file names. */
export interface FoundPackage {
  /** Its package url with everything below in it: https://github.com/package-url/purl-spec */
  readonly purl: string
  /** The package url's type: `npm`, `nuget`, `maven`. */
  readonly type: string
  /** An npm scope with its `@`, a Maven group; null where a package has none. */
  readonly namespace: string | null
  /** Without the namespace. */
  readonly name: string
  readonly version: string
  readonly evidence: Evidence
}

export interface Extraction {
  /** Each package url once, in the order of the file. */
  readonly packages: readonly FoundPackage[]
}

/** Reads one format of file. What it finds depends on the content alone, so that equal contents are read once. */
export interface Extractor {
  /** Stored with what it found. */
  readonly name: string
  /** A whole number, raised with every change of what it finds: what an older version read is read again. */
  readonly version: number
  /** Whether the file shall be read. The path decides where the same content means something elsewhere, and nothing here. */
  wants(file: FileProbe): boolean
  /** Whether files of this path are texts that are kept and served as they are, read or not. */
  serves(path: string): boolean
  /** @throws ExtractorError where the content is not what its name promises. */
  extract(content: Uint8Array): Extraction | Promise<Extraction>
}

/** The last segment of a path. */
export function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
