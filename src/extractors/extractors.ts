import type { FileProbe } from '../domain/file-probe.ts'
import { depsJson } from './dotnet/deps-json.ts'
import type { Extractor } from './extractor.ts'
import { pomXml } from './maven/pom-xml.ts'
import { packageJson } from './npm/package-json.ts'
import { packageLock } from './npm/package-lock.ts'

export type { Evidence, Extraction, Extractor, FoundPackage } from './extractor.ts'
export { ExtractorError, type ExtractorErrorCode } from './extractor-error.ts'

/** All formats that are read. */
export const extractors: readonly Extractor[] = [packageJson, packageLock, depsJson, pomXml]

/** Those that read a file. */
export function extractorsOf(file: FileProbe): Extractor[] {
  return extractors.filter((extractor) => extractor.wants(file))
}

/** Whether a file's content has to be fetched: some extractor reads it, or it is served as it is. */
export function isWanted(file: FileProbe): boolean {
  return extractors.some((extractor) => extractor.wants(file) || extractor.serves(file.path))
}

/** Whether a file is a text that is kept and served as it is. */
export function isServed(path: string): boolean {
  return extractors.some((extractor) => extractor.serves(path))
}
