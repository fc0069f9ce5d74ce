import { Registry } from 'prom-client'
import { afterEach, describe, expect, it } from 'vitest'
import { type ApiOptions, createTestApi, type TestApi } from '../../test/api.ts'
import { type Store, StoreError, type StoreErrorCode } from '../store/port.ts'
import { BODY_LIMIT_BYTES, REQUESTS_PER_MINUTE } from './http.ts'

let api: TestApi
const open = (options: ApiOptions = {}) => {
  api = createTestApi(options)
  return api
}
afterEach(() => api.close())

const LISTS = [
  '/services',
  '/artifacts',
  '/artifacts/foo',
  '/deployables',
  '/deployables/foo',
  '/environments',
  '/deployments',
  '/squashed-deployments',
  '/whats-running-where',
  '/events'
]

describe('paths', () => {
  it('are served with and without the prefix, in any case, with and without a trailing slash', async () => {
    open()
    await api.image('foo', '1.0.0')
    for (const path of [
      ...LISTS,
      '/artifacts/foo/1.0.0',
      '/services/foo',
      '/health',
      '/health/ready',
      '/openapi.json'
    ]) {
      const plain = await api.app.inject(path)
      expect(plain.statusCode, path).toBe(200)
      const [, route = '', rest = ''] = /^(\/[^/]+)(.*)$/.exec(path) ?? []
      for (const other of [
        `/cdp-portal-backend${path}`,
        `/CDP-Portal-Backend${path}/`,
        `${path}/`,
        `${route.toUpperCase()}${rest}`,
        `http://portal.example${path}`
      ]) {
        const response = await api.app.inject(other)
        expect(response.statusCode, other).toBe(200)
        expect(response.body, other).toBe(plain.body)
      }
    }
  })

  it('keep the case of their parameters', async () => {
    open()
    await api.image('foo', '1.0.0-RC1')
    expect((await api.get('/ARTIFACTS/foo/1.0.0-RC1')).status).toBe(200)
    expect((await api.get('/artifacts/foo/1.0.0-rc1')).status).toBe(404)
    expect((await api.get('/artifacts/FOO/1.0.0-RC1')).status).toBe(404)
  })

  it('that no route answers are 404, for every method', async () => {
    open()
    for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND', 'TRACE'] as const) {
      for (const url of ['/nope', '/artifacts/a/b/c/d', '/*', ...(method === 'GET' ? [] : ['/services'])]) {
        const response = await api.app.inject({
          method: method as 'GET',
          url,
          payload: method === 'POST' ? 'x' : undefined
        })
        expect(response.statusCode, `${method} ${url}`).toBe(404)
        expect(response.headers['content-type']).toBe('application/problem+json; charset=utf-8')
        expect(response.json()).toMatchObject({ code: 'no-such-route', status: 404 })
      }
    }
  })

  it('HEAD works where GET does, and has no body', async () => {
    open()
    await api.image('foo', '1.0.0')
    for (const url of [...LISTS, '/', '/health', '/openapi.json', '/swagger', '/artifacts/foo/1.0.0']) {
      const get = await api.app.inject(url)
      const head = await api.app.inject({ method: 'HEAD', url })
      expect(head.statusCode, url).toBe(200)
      expect(head.body).toBe('')
      expect(head.headers['content-type']).toBe(get.headers['content-type'])
      expect(head.headers.etag, url).toBe(get.headers.etag)
    }
    expect((await api.app.inject({ method: 'HEAD', url: '/artifacts/foo/9.9.9' })).statusCode).toBe(404)
  })
})

describe('an error', () => {
  it('is a problem document with a stable code, and a message for clients that read only that', async () => {
    open()
    const { status, headers, body } = await api.get('/services/nobody')
    expect(status).toBe(404)
    expect(headers['content-type']).toBe('application/problem+json; charset=utf-8')
    expect(body).toEqual({
      type: 'about:blank',
      title: 'Not Found',
      status: 404,
      detail: 'nobody was not found',
      code: 'not-found',
      message: 'nobody was not found'
    })
  })

  it.each([
    ['/%', 'The path is not correctly percent-encoded.'],
    ['/deployables/%zz', 'The path is not correctly percent-encoded.'],
    ['/deployables/%E2%82', 'The path is not correctly percent-encoded.'],
    ['/deployments?environment=%zz', 'The query is not correctly percent-encoded.']
  ])('malformed URL encoding is 400: %s', async (url, message) => {
    open()
    const { status, headers, body } = await api.get(url)
    expect(status).toBe(400)
    expect(headers['x-request-id']).toBeDefined()
    expect(body).toMatchObject({ code: 'malformed-request', message })
  })

  const post = async (payload: string | Buffer, contentType: string | null, headers: Record<string, string> = {}) => {
    const type: Record<string, string> = contentType === null ? {} : { 'content-type': contentType }
    const response = await api.app.inject({
      method: 'POST',
      url: '/deployments',
      payload,
      headers: { ...type, ...headers }
    })
    return { status: response.statusCode, body: response.json() }
  }

  it.each(['{', '{"a":}', '\u0000', "{'a': 1}"])('malformed JSON is 400: %s', async (payload) => {
    open()
    expect(await post(payload, 'application/json')).toMatchObject({
      status: 400,
      body: { code: 'malformed-request', message: 'The body is not JSON.' }
    })
  })

  it.each(['application/xml', 'text/html', 'multipart/form-data; boundary=x', 'nonsense'])(
    'another media type is 415: %s',
    async (contentType) => {
      open()
      expect(await post('<a/>', contentType)).toMatchObject({
        status: 415,
        body: { code: 'unsupported-media-type', message: 'The body must be application/json.' }
      })
    }
  )

  it('a body over 1 MiB is 413; one of just that size is read', async () => {
    open()
    const filler = (bytes: number) =>
      JSON.stringify({ service: '', filler: '' }).replace('""}', `"${'x'.repeat(bytes)}"}`)
    const overhead = filler(0).length
    const most = await post(filler(BODY_LIMIT_BYTES - overhead), 'application/json')
    expect(most).toMatchObject({ status: 400, body: { code: 'invalid-body' } })
    const more = await post(filler(BODY_LIMIT_BYTES - overhead + 1), 'application/json')
    expect(more).toMatchObject({
      status: 413,
      body: { code: 'body-too-large', message: 'The body is larger than 1 MiB.' }
    })
  })

  it('too many requests from one address are 429, and say when to come back', async () => {
    open()
    const statuses = new Map<number, number>()
    let last = await api.app.inject('/environments')
    for (let i = 1; i <= REQUESTS_PER_MINUTE; i++) {
      statuses.set(last.statusCode, (statuses.get(last.statusCode) ?? 0) + 1)
      last = await api.app.inject('/environments')
    }
    expect([...statuses]).toEqual([[200, REQUESTS_PER_MINUTE]])
    expect(last.statusCode).toBe(429)
    expect(Number(last.headers['retry-after'])).toBeGreaterThan(0)
    expect(last.json()).toMatchObject({ code: 'too-many-requests', status: 429 })
    // Whoever watches the service is not turned away with the others.
    for (const path of ['/health', '/health/live', '/health/ready', '/metrics']) {
      expect((await api.app.inject(path)).statusCode).toBe(200)
    }
  })

  const failing = (error: unknown): ApiOptions => ({
    storeOf: (store): Store => ({ ...store, artifacts: () => Promise.reject(error) })
  })

  it.each(['unavailable', 'busy', 'full'] as StoreErrorCode[])('a store that is %s is 503', async (code) => {
    open(failing(new StoreError(code, 'the inner text of the store at /secret/path')))
    const { status, headers, body } = await api.get('/artifacts')
    expect(status).toBe(503)
    expect(headers['retry-after']).toBe('5')
    expect(body).toMatchObject({ code: 'store-unavailable' })
    expect(JSON.stringify(body)).not.toContain('secret')
  })

  it('of our own is 500 without inner text', async () => {
    open(failing(new Error('the inner text with a secret')))
    const { status, body } = await api.get('/artifacts')
    expect(status).toBe(500)
    expect(body).toEqual({
      type: 'about:blank',
      title: 'Internal Server Error',
      status: 500,
      detail: 'The service failed; the log says why.',
      code: 'internal',
      message: 'The service failed; the log says why.'
    })
  })

  it('is an answer that is not what the schema says, too', async () => {
    open({ storeOf: (store) => ({ ...store, deployableImages: async () => [7 as unknown as string] }) })
    expect(await api.get('/deployables')).toMatchObject({ status: 500, body: { code: 'internal' } })
  })

  it('is never answered as unchanged, whatever tag is sent', async () => {
    open()
    const first = await api.app.inject('/services/nobody')
    const headers = { 'if-none-match': String(first.headers.etag ?? '*') }
    expect((await api.app.inject({ url: '/services/nobody', headers })).statusCode).toBe(404)
  })
})

describe('a request id', () => {
  it('is echoed', async () => {
    open()
    for (const url of ['/health', '/nope', '/%zz']) {
      const { headers } = await api.get(url, { 'x-request-id': 'abc-123' })
      expect(headers['x-request-id'], url).toBe('abc-123')
    }
  })

  it.each(['', 'x'.repeat(129), 'two words', 'a\tb', 'naïve', '<script>'])(
    'is made where none is sent that can be echoed: %j',
    async (id) => {
      open()
      const { headers } = await api.get('/health', { 'x-request-id': id })
      expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    }
  )
})

describe('lists', () => {
  it('carry an ETag and answer 304', async () => {
    open()
    await api.image('foo', '1.0.0')
    for (const url of LISTS) {
      const first = await api.app.inject(url)
      const etag = String(first.headers.etag)
      expect(etag, url).toMatch(/^W\/".+"$/)
      const again = await api.app.inject({ url, headers: { 'if-none-match': etag } })
      expect(again.statusCode, url).toBe(304)
      expect(again.body).toBe('')
    }
    const before = await api.app.inject('/artifacts')
    await api.image('foo', '2.0.0')
    const after = await api.app.inject({ url: '/artifacts', headers: { 'if-none-match': String(before.headers.etag) } })
    expect(after.statusCode).toBe(200)
  })
})

describe('health', () => {
  it('is 200 while the process is alive', async () => {
    open({ deps: { readiness: async () => [{ name: 'store', ok: false }] } })
    for (const path of ['/health', '/health/live']) {
      expect(await api.get(path)).toMatchObject({ status: 200, body: { status: 'ok' } })
    }
  })

  it('is ready when every check is', async () => {
    open()
    expect(await api.get('/health/ready')).toMatchObject({
      status: 200,
      body: { status: 'ok', checks: [{ name: 'store', ok: true, reason: null }] }
    })
  })

  it('is 503 with the failing checks when one is not', async () => {
    const checks = [
      { name: 'store', ok: true },
      { name: 'serving', ok: false, reason: 'the service is stopping' }
    ]
    open({ deps: { readiness: async () => checks } })
    expect(await api.get('/health/ready')).toMatchObject({
      status: 503,
      body: {
        code: 'not-ready',
        message: 'serving: the service is stopping',
        checks: [
          { name: 'store', ok: true },
          { name: 'serving', ok: false, reason: 'the service is stopping' }
        ]
      }
    })
  })
})

describe('metrics', () => {
  it('are text for Prometheus: the process, durations by route template, and what others register', async () => {
    const metrics = new Registry()
    open({ deps: { metrics } })
    await api.get('/services/one')
    await api.get('/services/two')
    await api.get('/no/such/route')
    const { body, headers } = await api.app.inject('/metrics')
    expect(headers['content-type']).toContain('text/plain')
    expect(body).toContain('process_cpu_seconds_total')
    expect(body).toContain(
      'http_request_duration_seconds_count{method="GET",route="/services/:service",status="404"} 2'
    )
    expect(body).toContain('http_request_duration_seconds_count{method="GET",route="none",status="404"} 1')
    expect(body).not.toContain('/services/one')
  })
})

describe('headers', () => {
  it('let a browser run nothing of an answer, nor frame it or guess its type', async () => {
    open()
    for (const url of ['/', '/services', '/nope', '/openapi.json']) {
      const { headers } = await api.app.inject(url)
      expect(headers['content-security-policy'], url).toContain("default-src 'none'")
      expect(headers['content-security-policy'], url).toContain("frame-ancestors 'none'")
      expect(headers['x-content-type-options'], url).toBe('nosniff')
    }
  })
})

describe('the page at /', () => {
  it('says what this is, and every link on it leads somewhere', async () => {
    open()
    for (const prefix of ['/', '/cdp-portal-backend/']) {
      const { body, headers } = await api.app.inject(prefix)
      expect(headers['content-type']).toBe('text/html; charset=utf-8')
      const links = [...body.matchAll(/href="([^"]+)"/g)].map(([, link]) => String(link))
      expect(links.length).toBeGreaterThan(5)
      for (const link of links) expect((await api.app.inject(`${prefix}${link}`)).statusCode, link).toBe(200)
    }
  })
})
