import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { completeLockfile, type Lockfile, unlistedPackages } from './lockfile.ts'

describe('the lockfile', () => {
  const committed = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')) as Lockfile

  it('lists the packages of every platform, so that npm ci takes it anywhere (else: npm run lockfile)', () => {
    expect(Object.keys(committed.packages).length).toBeGreaterThan(100)
    expect(unlistedPackages(committed)).toEqual([])
  })

  it('is in the order that completing it would give, so that completing it changes nothing else', () => {
    expect(JSON.stringify(completeLockfile(committed))).toBe(JSON.stringify(committed))
  })

  const partial: Lockfile = {
    packages: {
      '': {},
      'node_modules/a': {
        dev: true,
        version: '1.2.3',
        optionalDependencies: {
          '@a/linux-arm64-musl': '1.2.3',
          '@a/linux-x64': '1.2.3',
          '@a/win32-x64-msvc': '1.2.3',
          inside: '^1.0.0'
        }
      },
      'node_modules/a/node_modules/inside': { version: '1.0.0' },
      'node_modules/@a/linux-x64': { version: '1.2.3' }
    }
  }

  it('is completed with what the names and dependents of the unlisted packages state', () => {
    const { packages } = completeLockfile(partial)
    expect(packages['node_modules/@a/linux-arm64-musl']).toEqual({
      version: '1.2.3',
      cpu: ['arm64'],
      dev: true,
      libc: ['musl'],
      optional: true,
      os: ['linux']
    })
    expect(packages['node_modules/@a/win32-x64-msvc']).toMatchObject({ cpu: ['x64'], os: ['win32'] })
    expect(Object.keys(packages)).toHaveLength(6)
    expect(unlistedPackages({ packages })).toEqual([])
  })

  it.each([
    ['fsevents', '2.3.3'],
    ['@a/linux-x64', '^1.0.0']
  ])('is not completed by guessing: %s@%s', (name, range) => {
    const packages = { 'node_modules/a': { version: '1.0.0', optionalDependencies: { [name]: range } } }
    expect(() => completeLockfile({ packages })).toThrow(name)
  })
})
