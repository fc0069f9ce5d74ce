import { connect } from 'node:net'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { request } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestApi, type TestApi } from '../../test/api.ts'

let api: TestApi
let port: number
let address: string
beforeAll(async () => {
  api = createTestApi()
  for (let i = 0; i < 50; i++) await api.image('foo', `1.${i}.0`)
  address = await api.app.listen({ host: '127.0.0.1', port: 0 })
  port = Number(new URL(address).port)
})
afterAll(() => api.close())

/** Sends bytes as they are, and reads until the server ends the connection. */
async function exchange(bytes: string): Promise<{ status: number; headers: string; body: string }> {
  const socket = connect(port, '127.0.0.1')
  socket.write(bytes)
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  const [headers = '', body = ''] = Buffer.concat(chunks).toString('utf8').split('\r\n\r\n')
  return { status: Number(headers.split(' ')[1]), headers: headers.toLowerCase(), body }
}

describe('every 4xx has a JSON body, also where Node’s parser or server refuses', () => {
  it.each([
    ['a line that is no request', 'nonsense\r\n\r\n', 400, 'malformed-request'],
    ['an unknown method', 'FROBNICATE / HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'malformed-request'],
    ['a space in the path', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'malformed-request'],
    ['TLS on a plain port', '\u0016\u0003\u0001\u0002\u0000\u0001', 400, 'malformed-request'],
    [
      'headers that are too large',
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers-too-large'
    ],
    ['no Host', 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'malformed-request'],
    [
      'an expectation',
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: tea\r\n\r\n',
      417,
      'expectation-failed'
    ],
    ['a proxy’s CONNECT', 'CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n', 404, 'no-such-route'],
    ['a path of *', 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 404, 'no-such-route'],
    [
      'a length that is no number',
      'POST /deployments HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n',
      400,
      'malformed-request'
    ],
    ['a method that few know', 'PROPFIND / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 404, 'no-such-route']
  ])('%s', async (_what, bytes, status, code) => {
    const answer = await exchange(bytes)
    expect(answer.status).toBe(status)
    expect(answer.headers).toContain('content-type: application/problem+json')
    expect(JSON.parse(answer.body)).toMatchObject({ status, code, message: expect.any(String) })
  })

  it('and the service goes on', async () => {
    const { statusCode } = await request(`${address}/health`)
    expect(statusCode).toBe(200)
  })
})

describe('over a connection', () => {
  it('a request of HTTP/1.0 needs no Host', async () => {
    expect((await exchange('GET /health HTTP/1.0\r\n\r\n')).status).toBe(200)
  })

  it('the target may be a whole URL', async () => {
    const answer = await exchange(
      'GET http://a/cdp-portal-backend/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    )
    expect(answer.status).toBe(200)
  })

  it('HEAD has the headers of GET and no body', async () => {
    const { headers, body } = await request(`${address}/artifacts`, { method: 'HEAD' })
    expect(await body.text()).toBe('')
    expect(headers['content-type']).toBe('application/json; charset=utf-8')
  })

  it('large answers are compressed for who asks, and the same', async () => {
    const plain = await request(`${address}/artifacts`)
    const text = await plain.body.text()
    expect(plain.headers['content-encoding']).toBeUndefined()
    for (const [encoding, decompress] of [
      ['gzip', gunzipSync],
      ['br', brotliDecompressSync]
    ] as const) {
      const { headers, body } = await request(`${address}/artifacts`, { headers: { 'accept-encoding': encoding } })
      const bytes = Buffer.from(await body.arrayBuffer())
      expect(headers['content-encoding']).toBe(encoding)
      expect(headers.vary).toContain('accept-encoding')
      expect(headers.etag).toBe(plain.headers.etag)
      expect(bytes.length).toBeLessThan(text.length / 2)
      expect(decompress(bytes).toString()).toBe(text)
    }
  })

  it('a small answer is not compressed', async () => {
    const { headers, body } = await request(`${address}/environments`, { headers: { 'accept-encoding': 'gzip' } })
    expect(headers['content-encoding']).toBeUndefined()
    expect(await body.json()).toContain('prod')
  })

  it('a list that has not changed is 304, compressed or not', async () => {
    const { headers, body } = await request(`${address}/artifacts`)
    await body.dump()
    for (const encoding of ['identity', 'gzip']) {
      const again = await request(`${address}/artifacts`, {
        headers: { 'if-none-match': String(headers.etag), 'accept-encoding': encoding }
      })
      expect(again.statusCode).toBe(304)
      expect(await again.body.text()).toBe('')
    }
  })
})
