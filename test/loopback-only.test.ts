import { once } from 'node:events'
import { get } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import { isLoopback, NOT_LOOPBACK } from './loopback-only.ts'

/** From TEST-NET-1 (RFC 5737): nobody answers there, should the guard not hold. */
const ELSEWHERE = '192.0.2.1'

/** The error that an emitter reports. */
async function errorOf(emitter: NodeJS.EventEmitter): Promise<unknown> {
  const [error] = await once(emitter, 'error')
  return error
}

describe('tests dial loopback only', () => {
  it.each(['localhost', 'LOCALHOST', 'a.localhost', '127.0.0.1', '127.1.2.3', '::1', '[::1]', '::ffff:127.0.0.1'])(
    '%s is this machine',
    (host) => expect(isLoopback(host)).toBe(true)
  )

  it.each(['example.org', '10.0.0.1', '169.254.169.254', '0.0.0.0', '::', 'fe80::1', '127.0.0.1.example.org', ''])(
    '%s is not',
    (host) => expect(isLoopback(host)).toBe(false)
  )

  it('lets a connection to this machine through, in every form of arguments', async () => {
    const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    for (const socket of [
      connect(port, '127.0.0.1'),
      connect({ port, host: '127.0.0.1' }),
      connect(`${port}` as never)
    ]) {
      const [data] = await once(socket, 'data')
      expect(String(data)).toBe('hello')
    }
    server.close()
  })

  it('refuses every other address to net, tls, http, fetch and undici', async () => {
    expect(await errorOf(connect(80, ELSEWHERE))).toMatchObject({ code: NOT_LOOPBACK })
    expect(await errorOf(connect({ port: 80, host: 'example.org' }))).toMatchObject({ code: NOT_LOOPBACK })
    expect(await errorOf(connectTls(443, ELSEWHERE))).toMatchObject({ code: NOT_LOOPBACK })
    expect(await errorOf(get(`http://${ELSEWHERE}/`))).toMatchObject({ code: NOT_LOOPBACK })
    await expect(fetch(`https://${ELSEWHERE}/`)).rejects.toMatchObject({ cause: { code: NOT_LOOPBACK } })
    await expect(request(`http://${ELSEWHERE}/`)).rejects.toMatchObject({ code: NOT_LOOPBACK })
  })
})
