import { describe, expect, it } from 'vitest'
import { createAccess, isLoopbackHost, needOf } from './access.ts'

const TOKENS = { adminToken: 'admin-token', writeToken: 'write-token' }

describe('what a route needs', () => {
  it.each([
    ['GET', '/deployments', 'nothing'],
    ['HEAD', '/deployments', 'nothing'],
    ['POST', '/deployments', 'write'],
    ['POST', '/artifacts/placeholder', 'write'],
    ['POST', '/admin/scan', 'admin'],
    ['GET', '/admin/backfill', 'admin'],
    ['POST', '/a-route-that-somebody-forgot', 'admin'],
    ['DELETE', '/deployments', 'admin']
  ] as const)('%s %s: %s', (method, route, need) => expect(needOf(method, route)).toBe(need))
})

describe('which hosts only this machine can reach', () => {
  it.each(['127.0.0.1', '127.1.2.3', 'localhost', '::1', '[::1]', 'LOCALHOST', '::ffff:127.0.0.1'])('%s', (host) =>
    expect(isLoopbackHost(host)).toBe(true)
  )
  it.each(['0.0.0.0', '::', '[::]', '10.0.0.1', 'localhost.example.org', '127.0.0.1.example.org', '', 'fe80::1'])(
    'not %s',
    (host) => expect(isLoopbackHost(host)).toBe(false)
  )
})

describe('who is admitted', () => {
  it('everybody, where nothing is needed', () => {
    const access = createAccess({ host: '0.0.0.0', ...TOKENS })
    for (const authorization of [undefined, '', 'Bearer null', 'Basic x']) {
      expect(access.admit('nothing', authorization)).toEqual({ admitted: true })
    }
  })

  it('whoever has the token, on loopback too once it is set', () => {
    const access = createAccess({ host: '127.0.0.1', ...TOKENS })
    expect(access.admit('admin', undefined)).toMatchObject({ admitted: false, code: 'unauthenticated' })
    expect(access.admit('admin', 'Bearer admin-token')).toEqual({ admitted: true })
    expect(access.admit('write', 'Bearer admin-token')).toEqual({ admitted: true })
    expect(access.admit('write', 'Bearer write-token')).toEqual({ admitted: true })
    expect(access.admit('admin', 'Bearer write-token')).toMatchObject({ admitted: false, code: 'forbidden' })
  })

  it('nobody by a token that is nearly right', () => {
    const access = createAccess({ host: '0.0.0.0', ...TOKENS })
    for (const sent of ['admin-toke', 'admin-token1', 'Admin-token', '', 'undefined', 'null']) {
      expect(access.admit('admin', `Bearer ${sent}`)).toMatchObject({ admitted: false, code: 'unauthenticated' })
    }
    expect(access.admit('admin', 'Basic admin-token')).toMatchObject({ admitted: false })
    expect(access.admit('admin', 'admin-token')).toMatchObject({ admitted: false })
  })

  it('no admin where others can reach the service and no token is set, whatever is sent', () => {
    const access = createAccess({ host: '0.0.0.0', adminToken: null, writeToken: 'write-token' })
    for (const authorization of [undefined, 'Bearer null', 'Bearer write-token']) {
      expect(access.admit('admin', authorization)).toMatchObject({
        admitted: false,
        code: 'forbidden',
        challenge: null
      })
    }
  })
})
