import { describe, expect, it } from 'vitest'
import { redirectTarget, retryAfter } from './transport.ts'

describe('Retry-After', () => {
  const now = Date.parse('2026-01-02T03:04:05Z')

  it.each([
    ['0', 0],
    ['120', 120_000],
    [' 5 ', 5_000],
    ['Fri, 02 Jan 2026 03:05:05 GMT', 60_000],
    ['Fri, 02 Jan 2026 03:03:05 GMT', 0]
  ])('of %j is %i ms', (value, ms) => {
    expect(retryAfter(value, now)).toBe(ms)
  })

  it.each([undefined, '', 'soon', '-1 minute', ['1', '2']])('of %j says nothing', (value) => {
    expect(retryAfter(value, now)).toBeNull()
  })
})

describe('a redirect', () => {
  it('leads to an address, or to a path of the same server', () => {
    const base = new URL('https://registry.example/v2/service/blobs/x')
    expect(redirectTarget('https://storage.example/x?signature', base, 'x').href).toBe(
      'https://storage.example/x?signature'
    )
    expect(redirectTarget('../y', base, 'x').href).toBe('https://registry.example/v2/service/y')
  })

  it.each([
    ['http://storage.example/x?signature', 'leaves https'],
    ['file:///etc/passwd', 'is no http address'],
    ['data:text/plain,x', 'is no http address'],
    ['https://', 'is no address'],
    [undefined, 'is missing']
  ])('to %s is not followed: it %s', (location, _why) => {
    const follow = () => redirectTarget(location, new URL('https://registry.example/x'), 'service:1.0.0')
    expect(follow).toThrow(
      expect.objectContaining({ code: 'invalid', message: expect.not.stringContaining('signature') })
    )
  })
})
