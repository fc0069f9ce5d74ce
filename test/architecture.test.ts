import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { cruise } from 'dependency-cruiser'
import { describe, expect, it } from 'vitest'

/** An import of one of the project's modules by another; both are paths from the project's root. */
interface Import {
  readonly from: string
  readonly to: string
}

// The parts of the service and what each may import, besides src/domain/ and src/store/port.ts, which are open to all.
// A part stands for its public file, `src/<part>/<part>.ts`. This is the picture of docs/architecture.md, as data.
const EVERY_PART = 'every part'
const MAY_IMPORT: Readonly<Record<string, readonly string[] | typeof EVERY_PART>> = {
  main: ['compose', 'config'],
  cli: ['main', 'compose', 'config'],
  compose: EVERY_PART,
  config: [],
  domain: [],
  events: ['deployments', 'artifacts'],
  deployments: [],
  scan: ['registry', 'layers', 'extractors', 'artifacts'],
  registry: [],
  layers: [],
  extractors: [],
  artifacts: ['deployments'],
  repositories: [],
  reconcile: ['deployments', 'scan', 'registry'],
  schedule: [],
  access: [],
  store: [],
  http: EVERY_PART,
  web: []
}

/** What is no part that others use: the process, the command line, the composition root and its settings. */
const TOP = ['main', 'cli', 'compose', 'config']
const PORT = 'src/store/port.ts'
/** The stores that the composition root chooses from; each is a file of its own, so that one can be left out. */
const STORES = /^src\/store\/(sqlite|mongo)\/\1\.ts$/

const isTest = (path: string) => path.endsWith('.test.ts')
const partOf = (path: string) => /^src\/([^/.]+)/.exec(path)?.[1] ?? null

function isPublic(path: string): boolean {
  const part = partOf(path)
  return part === 'domain' || path === PORT || path === `src/${part}.ts` || path === `src/${part}/${part}.ts`
}

/** Why an import is not allowed; null where it is. */
function objection({ from, to }: Import): string | null {
  const target = partOf(to)
  const source = partOf(from)
  if (target === null) {
    // demo, test, bench and scripts stand outside: the service must run without them.
    if (source !== null && !isTest(from)) return 'the service imports nothing that is not in src'
    if (from.startsWith('demo/') && !to.startsWith('demo/') && !to.startsWith('test/fakes/')) {
      return 'besides compose, the demo uses the fakes only'
    }
    return null
  }
  if (source !== null && source === target) return null
  if (isTest(to)) return 'a test is imported by nobody'
  if (from.startsWith('demo/') && !['compose', 'config', 'domain'].includes(target)) {
    return 'the demo drives the service from outside: compose and its settings only'
  }
  if (STORES.test(to)) {
    return source === null || source === 'compose' || isTest(from) ? null : 'only compose knows which store there is'
  }
  if (source === 'domain') return 'the domain imports nothing of ours'
  if (!isPublic(to)) return `only the public file of ${target} is for others`
  // A test may build what it needs from real parts, as compose does; it keeps to their public files.
  if (source === null || isTest(from) || target === 'domain' || to === PORT) return null
  const allowed = MAY_IMPORT[source]
  if (allowed === undefined) return `${source} is not in the table: add it, and to docs/architecture.md`
  if (allowed === EVERY_PART) {
    return source === 'compose' || !TOP.includes(target) ? null : `${source} does not know ${target}`
  }
  return allowed.includes(target) ? null : `${source} does not know ${target}`
}

const FOLDERS = ['src', 'test', 'demo', 'bench', 'scripts']

/** Reads every module below `root`: what is written there, what was read of it, and who imports whom. */
async function readModules(root: string) {
  const written = globSync(`{${FOLDERS.join(',')}}/**/*.ts`, { cwd: root, exclude: ['**/fixtures/**'] }).sort()
  const present = FOLDERS.filter((folder) => written.some((path) => path.startsWith(`${folder}/`)))
  const { output } = await cruise(
    present,
    {
      baseDir: root,
      // Imports of types count too: they are knowledge of another part all the same.
      tsPreCompilationDeps: true,
      doNotFollow: { path: 'node_modules' },
      exclude: { path: '/fixtures/' }
    },
    { extensions: ['.ts', '.js', '.mjs'] }
  )
  if (typeof output === 'string') throw new Error('dependency-cruiser was asked for modules and gave a report')
  const modules = output.modules.filter(({ source }) => written.includes(source))
  const imports = modules.flatMap(({ source, dependencies }) =>
    dependencies
      .map(({ resolved }): Import => ({ from: source, to: resolved }))
      .filter(({ to }) => written.includes(to))
  )
  const violations = imports.filter((one) => objection(one) !== null).map(({ from, to }) => `${from} → ${to}`)
  return { written, modules, imports, violations }
}

const { written, modules, imports, violations } = await readModules(fileURLToPath(new URL('..', import.meta.url)))

describe('the parts know only what the picture of the house says', () => {
  it('every module was read', () => {
    expect(modules.map(({ source }) => source).sort()).toEqual(written)
    expect(written.filter((path) => path.startsWith('src/')).length).toBeGreaterThan(4)
  })

  it('every import was found where it points', () => {
    expect(imports).toContainEqual({ from: 'src/domain/image-reference.ts', to: 'src/domain/digest.ts' })
    const lost = modules.flatMap(({ source, dependencies }) =>
      dependencies.filter(({ couldNotResolve }) => couldNotResolve).map(({ module }) => `${source}: ${module}`)
    )
    expect(lost).toEqual([])
  })

  it('nothing is imported that must not be', () => {
    expect(violations).toEqual([])
  })

  it('a planted violation is found', async () => {
    const planted = await readModules(fileURLToPath(new URL('fixtures/planted-import', import.meta.url)))
    expect(planted.modules).toHaveLength(2)
    expect(planted.violations).toEqual(['src/registry/registry.ts → src/scan/scan.ts'])
  })

  it('nothing imports itself by way of others', () => {
    const circles = modules.flatMap(({ source, dependencies }) =>
      dependencies.filter(({ circular }) => circular).map(({ resolved }) => `${source} → ${resolved}`)
    )
    expect(circles).toEqual([])
  })

  it('the domain needs no package', () => {
    const packages = modules
      .filter(({ source }) => source.startsWith('src/domain/') && !isTest(source))
      .flatMap(({ dependencies }) =>
        dependencies.filter(({ coreModule, resolved }) => !coreModule && !written.includes(resolved))
      )
    expect(packages.map(({ module }) => module)).toEqual([])
  })

  it('docs/architecture.md has the same table, of the parts that there are', () => {
    const document = readFileSync(new URL('../docs/architecture.md', import.meta.url), 'utf8')
    const shown = [...document.matchAll(/^\| `(\w+)` \|.*\| (.*) \|$/gm)].map(([, part = '', allowed = '']) => [
      part,
      allowed === EVERY_PART ? EVERY_PART : allowed.split(', ').filter((name) => name !== '–')
    ])
    const parts = new Set(written.flatMap((path) => partOf(path) ?? []))
    expect(Object.fromEntries(shown)).toEqual(Object.fromEntries([...parts].map((part) => [part, MAY_IMPORT[part]])))
  })

  it('every part of src is in the table', () => {
    const parts = new Set(written.flatMap((path) => partOf(path) ?? []))
    expect([...parts].filter((part) => MAY_IMPORT[part] === undefined)).toEqual([])
  })

  it.each([
    ['src/deployments/deployments.ts', 'src/scan/scan.ts'],
    ['src/events/ecs/handler.ts', 'src/deployments/reduce.ts'],
    ['src/domain/digest.ts', 'src/store/port.ts'],
    ['src/http/routes/services.ts', 'src/config/config.ts'],
    ['src/http/app.ts', 'src/store/sqlite/sqlite.ts'],
    ['src/cli.ts', 'src/registry/registry.ts'],
    ['src/main.ts', 'src/cli.ts'],
    ['src/store/port.ts', 'src/scan/scan.ts'],
    ['src/scan/scan.ts', 'test/fakes/registry.ts'],
    ['src/newcomer/newcomer.ts', 'src/scan/scan.ts'],
    ['src/scan/scan.test.ts', 'src/registry/auth.ts'],
    ['test/e2e/serve.test.ts', 'src/store/sqlite/migrations.ts'],
    ['demo/demo.ts', 'src/events/events.ts'],
    ['demo/demo.ts', 'src/store/port.ts'],
    ['demo/demo.ts', 'scripts/lockfile.ts']
  ])('%s must not import %s', (from, to) => {
    expect(objection({ from, to })).not.toBeNull()
  })

  it.each([
    ['src/events/ecs/handler.ts', 'src/deployments/deployments.ts'],
    ['src/events/ecs/handler.ts', 'src/events/inbox.ts'],
    ['src/registry/registry.ts', 'src/domain/digest.ts'],
    ['src/deployments/deployments.ts', 'src/store/port.ts'],
    ['src/http/routes/services.ts', 'src/artifacts/artifacts.ts'],
    ['src/compose.ts', 'src/store/sqlite/sqlite.ts'],
    ['src/main.ts', 'src/compose.ts'],
    ['src/scan/scan.test.ts', 'src/store/sqlite/sqlite.ts'],
    ['src/scan/scan.test.ts', 'test/fakes/registry.ts'],
    ['demo/demo.ts', 'test/fakes/registry.ts'],
    ['demo/demo.ts', 'src/compose.ts'],
    ['demo/demo.ts', 'src/config/config.ts'],
    ['src/cli/image-report.ts', 'src/compose.ts']
  ])('%s may import %s', (from, to) => {
    expect(objection({ from, to })).toBeNull()
  })
})
