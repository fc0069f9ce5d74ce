import { PackageURL } from 'packageurl-js'
import type { Evidence, Extraction, FoundPackage } from './extractor.ts'
import { ExtractorError } from './extractor-error.ts'

// The largest lock files in use name some ten thousand.
const MAX_PACKAGES = 100_000

/** Collects what one file names, each package url once; `installed` wins over `declared`. */
export function createFoundPackages() {
  const packages = new Map<string, FoundPackage>()
  return {
    /** @throws ExtractorError `limit`. */
    add(type: string, namespace: string | null, name: string, version: string, evidence: Evidence): void {
      const purl = new PackageURL(type, namespace, name, version).toString()
      if (packages.get(purl)?.evidence === 'installed') return
      if (packages.size >= MAX_PACKAGES) throw new ExtractorError('limit', `names more than ${MAX_PACKAGES} packages`)
      packages.set(purl, { purl, type, namespace, name, version, evidence })
    },
    extraction: (): Extraction => ({ packages: [...packages.values()] })
  }
}
