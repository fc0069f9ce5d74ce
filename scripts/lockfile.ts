/**
 * Optional packages in package-lock.json, in the format of https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json
 * (lockfile version 3). A registry that holds only some platforms' packages makes `npm install` write a lockfile without the
 * others, and `npm ci` of npm 11 and 12 then refuses that lockfile (https://github.com/npm/cli/issues/9846).
 */

/** What is read and written of one package. The key of a package is its path, `node_modules/a/node_modules/b`. */
export interface LockedPackage {
  version?: string
  integrity?: string
  cpu?: string[]
  dev?: boolean
  libc?: string[]
  optional?: boolean
  os?: string[]
  optionalDependencies?: Record<string, string>
}

export interface Lockfile {
  packages: Record<string, LockedPackage>
}

/** An optional package that a listed one names, and the lockfile does not list. */
export interface UnlistedPackage {
  readonly name: string
  readonly range: string
  /** Whether only development needs the package that names it. */
  readonly dev: boolean
}

const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']
const PROCESSORS = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64']
const EXACT_VERSION = /^\d+\.\d+\.\d+(?:-[\w.-]+)?$/

/** The path under which a package at `from` finds `name`, as Node looks for it: inside itself, then further up. */
function resolve(packages: Record<string, LockedPackage>, from: string, name: string): string | null {
  for (let folder = from; ; folder = folder.slice(0, Math.max(folder.lastIndexOf('node_modules/') - 1, 0))) {
    const path = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`
    if (packages[path] !== undefined) return path
    if (folder === '') return null
  }
}

/** The optional packages that the lockfile should list and does not, by name. */
export function unlistedPackages(lockfile: Lockfile): UnlistedPackage[] {
  const found = new Map<string, UnlistedPackage>()
  for (const [path, { dev = false, optionalDependencies = {} }] of Object.entries(lockfile.packages)) {
    for (const [name, range] of Object.entries(optionalDependencies)) {
      if (resolve(lockfile.packages, path, name) === null) found.set(name, { name, range, dev })
    }
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The platform that a package's name ends in: `…-linux-arm64-musl`, `…-win32-x64-msvc`, `…-wasm32-wasi`. */
function platformOf(name: string): Pick<LockedPackage, 'cpu' | 'libc' | 'os'> | null {
  const words = name.split(/[-/]/)
  const cpu = words.filter((word) => PROCESSORS.includes(word))
  const os = words.filter((word) => SYSTEMS.includes(word))
  if (cpu.length !== 1 || (os.length !== 1 && cpu[0] !== 'wasm32')) return null
  const libc = words.some((word) => word.startsWith('musl')) ? ['musl'] : []
  return { cpu, ...(libc.length > 0 && { libc }), ...(os.length > 0 && { os }) }
}

/**
 * Lists the unlisted packages, with the exact version and the platform that their names and dependents state, and without
 * the hash that only a registry which has them can tell.
 * @throws where a version or a platform cannot be known so; nothing is changed then.
 */
export function completeLockfile(lockfile: Lockfile): Lockfile {
  const added = unlistedPackages(lockfile).map(({ name, range, dev }): [string, LockedPackage] => {
    const platform = platformOf(name)
    if (platform === null || !EXACT_VERSION.test(range)) {
      throw new Error(
        `${name}@${range} is not in the lockfile, and its name and range do not tell its platform and version`
      )
    }
    const { cpu, libc, os } = platform
    return [
      `node_modules/${name}`,
      {
        version: range,
        ...(cpu && { cpu }),
        ...(dev && { dev }),
        ...(libc && { libc }),
        optional: true,
        ...(os && { os })
      }
    ]
  })
  // In npm's own order, so that its next change to the file is no more than that.
  const packages = Object.entries(lockfile.packages).concat(added)
  packages.sort(([a], [b]) => a.localeCompare(b, 'en'))
  return { ...lockfile, packages: Object.fromEntries(packages) }
}
