import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { soaked } from '../../test/soak.ts'
import { ExtractorError, extractors, extractorsOf, isServed, isWanted } from './extractors.ts'

const probe = (path: string) => ({ path, size: 2, mode: 0o644, firstBytes: new Uint8Array() })

describe('the extractors', () => {
  it.each([
    ['package.json', ['npm-package']],
    ['app/package.json', ['npm-package']],
    ['app/node_modules/lodash/package.json', ['npm-package']],
    ['app/node_modules/@babel/core/package.json', ['npm-package']],
    ['app/node_modules/a/node_modules/b/package.json', ['npm-package']],
    ['app/node_modules/.pnpm/a@1.0.0/node_modules/a/package.json', ['npm-package']],
    ['node_modules/a/package-lock.json', ['npm-lock']],
    ['app/package-lock.json', ['npm-lock']],
    ['app/Service.deps.json', ['dotnet-deps']],
    ['app/pom.xml', ['maven-pom']],
    ['META-INF/maven/org.example/service/pom.xml', ['maven-pom']]
  ])('reads and serves %s', (path, names) => {
    expect(extractorsOf(probe(path)).map(({ name }) => name)).toEqual(names)
    expect(isWanted(probe(path))).toBe(true)
    expect(isServed(path)).toBe(true)
  })

  it.each([
    'app/node_modules/resolve/test/fixtures/package.json',
    'app/node_modules/@scope/package.json',
    'app/node_modules/a/dist/esm/package.json'
  ])('serves %s, which is inside an installed package, and reads no package from it', (path) => {
    expect(extractorsOf(probe(path))).toEqual([])
    expect(isServed(path)).toBe(true)
    expect(isWanted(probe(path))).toBe(true)
  })

  it.each([
    'app/xpackage.json',
    'app/package.json/readme',
    'app/package.json.bak',
    'app/.package-lock.json',
    'app/deps.json',
    'app/Pom.xml',
    'bin/sh'
  ])('leaves %s alone', (path) => {
    expect(isWanted(probe(path))).toBe(false)
    expect(isServed(path)).toBe(false)
  })

  it('have names of their own and whole versions, since results are stored under them', () => {
    expect(new Set(extractors.map(({ name }) => name)).size).toBe(extractors.length)
    expect(extractors.every(({ version }) => Number.isInteger(version) && version > 0)).toBe(true)
  })

  it('read any bytes, or say why not, with an ExtractorError [soak]', async () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.json().map((text) => new TextEncoder().encode(text)),
      documents.map((text) => new TextEncoder().encode(text))
    )
    await fc.assert(
      fc.asyncProperty(anything, fc.constantFrom(...extractors), async (content, extractor) => {
        try {
          const { packages } = await extractor.extract(content)
          for (const found of packages) {
            expect(found.purl).toMatch(/^pkg:[a-z]+\/\S+@\S+$/)
            expect(`${found.name}${found.version}`).toMatch(/^\S+$/)
          }
        } catch (error) {
          if (!(error instanceof ExtractorError)) throw error
        }
      }),
      soaked('extractors on any bytes', 2000)
    )
  })

  it('come through what is nested as deep as a megabyte allows', async () => {
    for (const [open, close] of [
      ['[', ']'],
      ['{"dependencies":{"a":', '}}'],
      ['{"packages":', '}'],
      ['<project>', '</project>']
    ]) {
      const depth = Math.floor(500_000 / (open ?? '').length)
      const content = Buffer.from(
        (open ?? '').repeat(depth) + (open?.startsWith('{') ? '1' : '') + (close ?? '').repeat(depth)
      )
      for (const extractor of extractors) {
        const outcome = await Promise.resolve()
          .then(() => extractor.extract(content))
          .catch((error: unknown) => error)
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(ExtractorError)
        else expect(outcome).toEqual({ packages: [] })
      }
    }
  })
})

// Documents of the right shape with odd parts, so that the runs do not all end at the first check.
const word = fc.oneof(
  fc.constantFrom(
    'a',
    '1.0.0',
    '@s/n',
    `\${a}`,
    `\${project.version}`,
    '__proto__',
    'constructor',
    'node_modules/a',
    '',
    '../x',
    'a/1.0'
  ),
  fc.string({ maxLength: 8 })
)
const value: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    word,
    fc.constantFrom(null, true, 1, 'package'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc
      .array(
        fc.tuple(
          fc.oneof(word, fc.constantFrom('version', 'name', 'type', 'runtime', 'dependencies', 'libraries')),
          tie('value')
        ),
        { maxLength: 4 }
      )
      .map((entries) => Object.fromEntries(entries))
  )
})).value
const documents = fc.oneof(
  fc
    .record(
      { name: word, version: word, packages: value, dependencies: value, libraries: value, targets: value },
      { requiredKeys: [] }
    )
    .map((document) => JSON.stringify(document)),
  fc
    .array(
      fc.tuple(
        fc.constantFrom('groupId', 'artifactId', 'version', 'dependencies', 'dependency', 'properties', 'a', 'parent'),
        word
      ),
      { maxLength: 12 }
    )
    .map((elements) => {
      const inside = elements.map(([name, text]) => `<${name}>${text}</${name}>`).join('')
      return `<project>${inside}<dependencies><dependency>${inside}</dependency></dependencies><properties>${inside}</properties></project>`
    })
)
