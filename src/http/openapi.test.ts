import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestApi, type TestApi } from '../../test/api.ts'

interface Operation {
  readonly summary?: string
  readonly security?: readonly object[]
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[]
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >
}

interface Description {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

let api: TestApi
let description: Description
let layer: string
const routes = new Set<string>()

beforeAll(async () => {
  api = createTestApi()
  api.app.addHook('onRoute', ({ method, url }) => {
    // What belongs to Swagger's own page is not of our API.
    if (/^\/swagger\/./.test(url)) return
    for (const one of [method].flat()) if (one !== 'HEAD') routes.add(`${one.toLowerCase()} ${url}`)
  })
  layer = (await api.image('foo', '1.0.0', { files: { 'package.json': '{"name":"foo"}', 'pom.xml': '<project/>' } }))
    .layer
  await api.image('foo', '2.0.0')
  await api.task({ image: 'foo:1.0.0', startedBy: 'ecs-svc/1', task: 'a' })
  await api.task({ image: 'foo:2.0.0', startedBy: 'ecs-svc/2', task: 'b', created: 2 })
  await api.post('/deployments', { service: 'foo', version: '3.0.0', environment: 'prod', deploymentId: 'portal-1' })
  await api.send('this is not JSON')
  description = (await api.get('/openapi.json')).body
})
afterAll(() => api.close())

/** What stands for the parameters of a path, so that there is something to see. */
const EXAMPLES: Readonly<Record<string, string>> = {
  '{service}': 'foo',
  '{image}': 'foo',
  '{tag}': '1.0.0',
  '{deploymentId}': '1',
  '{layerSha256}': ''
}

function addressOf(path: string, query = ''): string {
  const filled = path.replace(/\{\w+\}/g, (name) => (name === '{layerSha256}' ? layer : (EXAMPLES[name] ?? name)))
  return `${filled}${query}`
}

/** The validator of the schema that an operation gives for a status and a content type. */
function validatorOf(operation: Operation, status: number, contentType: string): ValidateFunction | string {
  const response = operation.responses[status] ?? operation.responses[`${String(status)[0]}XX`]
  if (response === undefined) return `the status ${status} is not described`
  const type = contentType.split(';')[0] ?? ''
  const schema = response.content?.[type]?.schema
  if (schema === undefined) return `${type} is not described for ${status}`
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  addFormats.default(ajv)
  return ajv.compile({ ...schema, components: description.components })
}

async function check(method: 'GET' | 'POST', path: string, address: string, expectedStatus?: number) {
  const operation = description.paths[path]?.[method.toLowerCase()]
  if (operation === undefined) throw new Error(`${method} ${path} is not described`)
  const response = await api.app.inject({ method, url: address })
  const contentType = String(response.headers['content-type'])
  if (expectedStatus !== undefined) expect(response.statusCode, address).toBe(expectedStatus)
  const validate = validatorOf(operation, response.statusCode, contentType)
  if (typeof validate === 'string') throw new Error(`${method} ${address}: ${validate}`)
  expect(response.body, `${address} answers something`).not.toBe('')
  const body: unknown = contentType.includes('json') ? response.json() : response.body
  validate(body)
  expect(validate.errors ?? [], `${method} ${address}`).toEqual([])
}

describe('/openapi.json', () => {
  it('is OpenAPI 3.1', () => expect(description.openapi).toMatch(/^3\.1\./))

  it('describes every route, and no other', () => {
    const described = Object.entries(description.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method} ${path.replace(/\{(\w+)\}/g, ':$1')}`)
    )
    expect(described.sort()).toEqual([...routes].sort())
    expect(described.length).toBeGreaterThan(20)
  })

  it('says of every route what it is for, and what its errors are', () => {
    for (const [path, operations] of Object.entries(description.paths)) {
      for (const operation of Object.values(operations)) {
        expect(operation.summary, path).toMatch(/\w/)
        if (path === '/swagger') continue
        for (const errors of ['4XX', '5XX']) {
          expect(Object.keys(operation.responses[errors]?.content ?? {}), path).toEqual(['application/problem+json'])
        }
      }
    }
  })

  it('says which routes ask for a token', () => {
    const asking = Object.entries(description.paths).flatMap(([path, operations]) =>
      Object.entries(operations).flatMap(([method, { security }]) =>
        security === undefined ? [] : [`${method} ${path}`]
      )
    )
    expect(asking.sort()).toEqual([
      'get /events',
      'post /admin/scan',
      'post /artifacts/placeholder',
      'post /deployments'
    ])
  })

  it('refers only to what is there', () => {
    const references = [...JSON.stringify(description).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)]
    expect(references.length).toBeGreaterThan(20)
    for (const [, name] of references) expect(Object.keys(description.components.schemas)).toContain(name)
  })
})

describe('each response is what /openapi.json says', () => {
  const queries: Readonly<Record<string, string>> = { '/files/{layerSha256}': '?path=package.json' }

  it('of every GET route, and there is something to see in it', async () => {
    for (const [path, operations] of Object.entries(description.paths)) {
      if (operations.get !== undefined) await check('GET', path, addressOf(path, queries[path]), 200)
    }
    for (const list of ['/services', '/artifacts', '/deployables', '/whats-running-where']) {
      expect((await api.get(list)).body.length, list).toBeGreaterThan(0)
    }
    expect((await api.get('/deployments')).body.deployments).toHaveLength(3)
    expect((await api.get('/whats-running-where')).body[0].versions).toHaveLength(2)
    expect((await api.get('/events')).body.events.length).toBeGreaterThan(2)
  })

  it('of every POST route', async () => {
    for (const [path, operations] of Object.entries(description.paths)) {
      if (operations.post !== undefined) await check('POST', path, `${path}?service=new-one&repo=foo&tag=1.0.0`)
    }
  })

  it.each([
    ['/files/{layerSha256}', '/files/nonsense?path=a', 404],
    ['/artifacts/{image}/{tag}', '/artifacts/a/b', 404],
    ['/services/{service}', '/services/nobody', 404],
    ['/deployments/{deploymentId}', '/deployments/portal-1', 200],
    ['/deployments/{deploymentId}', '/deployments/unknown', 404],
    ['/deployments', '/deployments?page=-1', 400],
    ['/whats-running-where', '/whats-running-where?at=x', 400],
    ['/whats-running-where', '/whats-running-where?at=2024-05-01T12:10:00Z', 200],
    ['/events', '/events?outcome=x', 400]
  ])('of %s: %s', (path, address, status) => check('GET', path, address, status))

  it('of a file that is no JSON', () => check('GET', '/files/{layerSha256}', `/files/${layer}?path=pom.xml`, 200))

  it('and the check finds what is not so', async () => {
    const operation = description.paths['/deployables']?.get
    if (operation === undefined) throw new Error('it is described')
    const validate = validatorOf(operation, 200, 'application/json; charset=utf-8')
    if (typeof validate === 'string') throw new Error(validate)
    expect(validate(['foo'])).toBe(true)
    expect(validate([7])).toBe(false)
    expect(validatorOf(operation, 204, 'application/json')).toBe('the status 204 is not described')
    expect(validatorOf(operation, 200, 'text/html')).toBe('text/html is not described for 200')
  })
})

describe('/swagger', () => {
  it('is a page whose files all come from this service, below the prefix too', async () => {
    for (const page of ['/swagger', '/swagger/', '/cdp-portal-backend/swagger', '/Cdp-Portal-Backend/swagger/']) {
      const { body, headers } = await api.app.inject(page)
      expect(headers['content-type']).toBe('text/html; charset=utf-8')
      expect(headers['content-security-policy']).toContain("script-src 'self';")
      const links = [...body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => String(link))
      expect(links.length).toBeGreaterThan(4)
      for (const link of links) {
        // As a browser resolves it.
        const { pathname } = new URL(link, `http://localhost${page}`)
        expect(pathname.startsWith(page.slice(0, page.toLowerCase().indexOf('/swagger')))).toBe(true)
        const file = await api.app.inject(pathname)
        expect(file.statusCode, pathname).toBe(200)
        if (link.endsWith('.js')) expect(file.headers['content-type']).toContain('javascript')
      }
    }
  })

  it('has no script and no style in the page, which its policy would not run', async () => {
    const { body } = await api.app.inject('/swagger')
    expect(body).not.toMatch(/<style|style=|<script(?![^>]*src=)|\son\w+=/)
  })

  it('shows the same description', async () => {
    expect((await api.get('/swagger/json')).body).toEqual(description)
  })
})
