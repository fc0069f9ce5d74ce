import type { Extractor } from '../extractor.ts'
import { createFoundPackages } from '../found-packages.ts'
import { isJsonObject, type JsonObject, objectEntries, readJsonObject } from '../json-document.ts'

const SUFFIX = '.deps.json'
// The runtime itself, in an application that brings its own; its NuGet package has the name without the prefix.
const RUNTIME_PACK = 'runtimepack'
const LIBRARY_TYPES: readonly unknown[] = ['package', 'project', RUNTIME_PACK]
const ASSETS = ['runtime', 'native', 'runtimeTargets', 'resources']
// What a package puts where it has nothing for a target.
const NO_ASSET = '_._'
const NAME = /^[\w.-]{1,256}$/
const VERSION = /^[\w.+-]{1,256}$/

/**
 * `*.deps.json`, which the .NET host reads to find the assemblies of an application:
 * https://github.com/dotnet/sdk/blob/main/documentation/specs/runtime-configuration-file.md#file-format.
 *
 * Libraries that bring files for a target are `installed`; those that only group others or serve to compile are `declared`.
 * Assemblies that were merely referenced (`reference`) are no packages.
 */
export const depsJson: Extractor = {
  name: 'dotnet-deps',
  version: 1,
  wants: ({ path }) => path.endsWith(SUFFIX),
  serves: (path) => path.endsWith(SUFFIX),
  extract(content) {
    const { libraries, targets } = readJsonObject(content)
    const withAssets = librariesWithAssets(targets)
    const packages = createFoundPackages()
    for (const [key, library] of objectEntries(libraries)) {
      if (!LIBRARY_TYPES.includes(library.type)) continue
      const slash = key.indexOf('/')
      const stated = key.slice(0, Math.max(slash, 0))
      const name = library.type === RUNTIME_PACK ? stated.replace(/^runtimepack\./, '') : stated
      const version = key.slice(slash + 1)
      if (!NAME.test(name) || !VERSION.test(version)) continue
      packages.add('nuget', null, name, version, withAssets.has(key) ? 'installed' : 'declared')
    }
    return packages.extraction()
  }
}

function librariesWithAssets(targets: unknown): ReadonlySet<string> {
  const keys = new Set<string>()
  for (const [, target] of objectEntries(targets)) {
    for (const [key, library] of objectEntries(target)) if (hasAssets(library)) keys.add(key)
  }
  return keys
}

function hasAssets(library: JsonObject): boolean {
  return ASSETS.some((kind) => {
    const assets = library[kind]
    return isJsonObject(assets) && Object.keys(assets).some((path) => !path.endsWith(NO_ASSET))
  })
}
