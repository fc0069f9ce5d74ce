import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseChallenges } from './challenge.ts'

function read(header: string) {
  return parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)])
}

describe('a WWW-Authenticate header', () => {
  it('names a token server, with commas inside its quoted values', () => {
    const header = 'Bearer realm="https://auth.example/token",service="registry",scope="repository:a:pull,push"'
    expect(read(header)).toEqual([
      ['bearer', { realm: 'https://auth.example/token', service: 'registry', scope: 'repository:a:pull,push' }]
    ])
  })

  it('offers several ways to sign in', () => {
    expect(read('Negotiate, Digest abc==, BASIC Realm = x , bearer realm="a\\"b"')).toEqual([
      ['negotiate', {}],
      ['digest', {}],
      ['basic', { realm: 'x' }],
      ['bearer', { realm: 'a"b' }]
    ])
  })

  it('counts as far as it can be read', () => {
    expect(read('Basic realm="open')).toEqual([['basic', {}]])
    expect(read('="x"')).toEqual([])
    expect(read('')).toEqual([])
    expect(read(`Basic realm="${'x'.repeat(20_000)}"`)).toEqual([])
  })

  const token = fc.stringMatching(/^[a-z][a-z0-9_-]{0,10}$/)
  const parameters = fc.dictionary(token, fc.string({ unit: 'grapheme-ascii' }), { minKeys: 1, noNullPrototype: true })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(token, parameters), { maxLength: 4 }), (challenges) => {
        const header = challenges
          .map(([scheme, values]) => {
            const pairs = Object.entries(values).map(([key, value]) => `${key}="${value.replace(/["\\]/g, '\\$&')}"`)
            return `${scheme} ${pairs.join(', ')}`
          })
          .join(', ')
        expect(read(header)).toEqual(challenges)
      })
    )
  })

  it('never fails to be read', () => {
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (header) => Array.isArray(parseChallenges(header))))
  })
})
