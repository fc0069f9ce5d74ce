import { describe, expect, it } from 'vitest'
import type { Extractor } from '../extractor.ts'
import { packageJson } from './package-json.ts'
import { packageLock } from './package-lock.ts'

const read = async (extractor: Extractor, content: unknown) =>
  (await extractor.extract(Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)))).packages
const purls = async (extractor: Extractor, content: unknown) => (await read(extractor, content)).map(({ purl }) => purl)

describe('package.json', () => {
  it('is the package that it describes', async () => {
    const manifest = { name: '@hapi/hapi', version: '21.3.2', dependencies: { '@hapi/boom': '^10.0.0' } }
    expect(await read(packageJson, manifest)).toEqual([
      {
        purl: 'pkg:npm/%40hapi/hapi@21.3.2',
        type: 'npm',
        namespace: '@hapi',
        name: 'hapi',
        version: '21.3.2',
        evidence: 'installed'
      }
    ])
  })

  it('may begin with a byte order mark', async () => {
    expect(await purls(packageJson, `\uFEFF${JSON.stringify({ name: 'a', version: '1.0.0' })}`)).toEqual([
      'pkg:npm/a@1.0.0'
    ])
  })

  it.each([
    { version: '1.0.0' },
    { name: 'a' },
    { name: '', version: '1.0.0' },
    { name: 'a', version: '' },
    { name: 1, version: {} },
    { name: 'a b', version: '1.0.0' },
    { name: '../../etc', version: '1.0.0' },
    { name: 'a', version: 'git+ssh://x' },
    { name: 'a'.repeat(215), version: '1.0.0' },
    { name: 'a', version: '1'.repeat(257) },
    {}
  ])('yields no package and no error for %j', async (manifest) => {
    expect(await read(packageJson, manifest)).toEqual([])
  })

  it('does not take keys for inherited ones', async () => {
    expect(await read(packageJson, '{"__proto__":{"name":"a","version":"1.0.0"}}')).toEqual([])
  })

  it.each([
    ['encoding', Buffer.from([0x7b, 0xff, 0x7d])],
    ['encoding', Buffer.from('\ufeff{"name":"a"}', 'utf16le')],
    ['malformed', Buffer.from('')],
    ['malformed', Buffer.from('{"name": "a",}')],
    ['malformed', Buffer.from('[]')],
    ['malformed', Buffer.from('null')]
  ])('is refused as %s', (code, content) => {
    expect(() => packageJson.extract(content)).toThrow(expect.objectContaining({ code }))
  })
})

describe('package-lock.json', () => {
  it('names packages by path in versions 2 and 3', async () => {
    const lock = {
      name: 'service',
      version: '1.2.3',
      lockfileVersion: 3,
      packages: {
        '': { name: 'service', version: '1.2.3' },
        'node_modules/@hapi/hapi': { version: '21.3.2' },
        'node_modules/a/node_modules/b': { version: '2.0.0' },
        'node_modules/b': { version: '1.0.0', dev: true },
        'node_modules/alias': { name: 'aliased', version: '4.0.0' },
        'node_modules/linked': { resolved: 'packages/linked', link: true },
        'packages/linked': { name: 'linked', version: '0.1.0' },
        'node_modules/from-git': { version: 'git+ssh://git@example.com/x.git' }
      },
      dependencies: { ignored: { version: '9.9.9' } }
    }
    expect(await purls(packageLock, lock)).toEqual([
      'pkg:npm/service@1.2.3',
      'pkg:npm/%40hapi/hapi@21.3.2',
      'pkg:npm/b@2.0.0',
      'pkg:npm/b@1.0.0',
      'pkg:npm/aliased@4.0.0',
      'pkg:npm/linked@0.1.0'
    ])
    expect(new Set((await read(packageLock, lock)).map(({ evidence }) => evidence))).toEqual(new Set(['declared']))
  })

  it('names packages by nesting in version 1', async () => {
    const lock = {
      name: 'service',
      version: '1.2.3',
      lockfileVersion: 1,
      dependencies: {
        a: { version: '1.0.0', dependencies: { b: { version: '2.0.0', dependencies: { c: { version: '3.0.0' } } } } },
        b: { version: '1.0.0' },
        again: { version: 'npm:a@1.0.0' },
        '@s/alias': { version: 'npm:@t/real@5.0.0' },
        git: { version: 'git+https://example.com/x.git#abc' },
        file: { version: 'file:../x' }
      }
    }
    expect(new Set(await purls(packageLock, lock))).toEqual(
      new Set([
        'pkg:npm/service@1.2.3',
        'pkg:npm/a@1.0.0',
        'pkg:npm/b@1.0.0',
        'pkg:npm/b@2.0.0',
        'pkg:npm/c@3.0.0',
        'pkg:npm/%40t/real@5.0.0'
      ])
    )
    expect(await purls(packageLock, lock)).toHaveLength(6)
  })

  it('names the packages of the lock file that npm wrote for this project', async () => {
    const { readFile } = await import('node:fs/promises')
    const content = await readFile('package-lock.json')
    const stated = Object.entries<{ version?: string; name?: string }>(JSON.parse(content.toString()).packages).map(
      ([path, { version, name }]) => `${name ?? path.split('node_modules/').at(-1)}@${version}`
    )
    const found = (await packageLock.extract(content)).packages
    expect(
      new Set(
        found.map(({ namespace, name, version }) => `${namespace === null ? '' : `${namespace}/`}${name}@${version}`)
      )
    ).toEqual(new Set(stated))
  })

  it('names no more than 100,000 packages', () => {
    const packages = Object.fromEntries(
      Array.from({ length: 100_001 }, (_, at) => [`node_modules/p${at}`, { version: '1.0.0' }])
    )
    expect(() => packageLock.extract(Buffer.from(JSON.stringify({ packages })))).toThrow(
      expect.objectContaining({ code: 'limit' })
    )
  })
})
