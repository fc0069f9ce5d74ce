import { type Extractor, fileName } from '../extractor.ts'
import { createFoundPackages } from '../found-packages.ts'
import { isJsonObject, type JsonObject, objectEntries, readJsonObject } from '../json-document.ts'
import { isPackageVersion, parsePackageName } from './package-name.ts'

const FILE = 'package-lock.json'
const ALIAS = /^npm:(?<name>@?[^@]+)@(?<version>.+)$/

type Packages = ReturnType<typeof createFoundPackages>

/**
 * `package-lock.json` of versions 1 to 3: every package that it names, `declared`.
 * https://docs.npmjs.com/cli/configuring-npm/package-lock-json. What comes from git or a directory has no version in a registry,
 * and is left out.
 */
export const packageLock: Extractor = {
  name: 'npm-lock',
  version: 1,
  wants: ({ path }) => fileName(path) === FILE,
  serves: (path) => fileName(path) === FILE,
  extract(content) {
    const lock = readJsonObject(content)
    const packages = createFoundPackages()
    // Version 2 has both; `packages` is the one that npm reads.
    if (isJsonObject(lock.packages)) addPackages(lock.packages, packages)
    else {
      addPackage(lock.name, lock.version, packages)
      addDependencies(lock.dependencies, packages)
    }
    return packages.extraction()
  }
}

/** Versions 2 and 3: by path, `""` being the project itself. A link states no version; its target has an entry of its own. */
function addPackages(byPath: JsonObject, packages: Packages): void {
  for (const [path, entry] of objectEntries(byPath)) {
    const folder = path.lastIndexOf('node_modules/')
    // The name is stated where it is not the folder's: in aliases, workspaces and the project itself.
    const name = entry.name ?? (folder === -1 ? undefined : path.slice(folder + 'node_modules/'.length))
    addPackage(name, entry.version, packages)
  }
}

/** Version 1: by name, each with the dependencies that are installed below it. */
function addDependencies(dependencies: unknown, packages: Packages): void {
  // No recursion: how deep it is nested is for the file to say.
  const waiting = [dependencies]
  while (waiting.length > 0) {
    for (const [name, entry] of objectEntries(waiting.pop())) {
      const alias = typeof entry.version === 'string' ? ALIAS.exec(entry.version)?.groups : undefined
      addPackage(alias?.name ?? name, alias?.version ?? entry.version, packages)
      waiting.push(entry.dependencies)
    }
  }
}

function addPackage(name: unknown, version: unknown, packages: Packages): void {
  const parsed = parsePackageName(name)
  if (parsed !== null && isPackageVersion(version)) packages.add('npm', parsed.scope, parsed.name, version, 'declared')
}
