import { afterEach, describe, expect, it, vi } from 'vitest'
import { type ApiOptions, createTestApi, type TestApi } from '../../../test/api.ts'
import type { HttpDeps } from '../http.ts'

let api: TestApi
const open = (options: ApiOptions = {}) => {
  api = createTestApi(options)
  return api
}
afterEach(() => api.close())

type ScanNow = HttpDeps['scan']['scanNow']
const scanning = (scanNow: ScanNow): ApiOptions => ({ deps: { scan: { scanNow } } })

describe('POST /admin/scan', () => {
  it('scans now and answers the artifact with its files', async () => {
    open(
      scanning(async (repository, tag) => {
        const artifact = await api.store.artifact(repository, tag)
        if (artifact === null) throw new Error('the test made it known')
        return { outcome: 'scanned', artifact }
      })
    )
    await api.image('team/foo', '1.2.3', { files: { 'package.json': '{}' } })
    const { status, body } = await api.post('/admin/scan?repo=team/foo&tag=1.2.3')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      success: true,
      error: null,
      artifact: { repo: 'team/foo', files: [{ path: 'package.json' }] }
    })
  })

  it('is 200 with success: false and the error where the image cannot be scanned', async () => {
    open(scanning(async () => ({ outcome: 'failed', error: 'foo:1.2.3 is a Helm chart' })))
    expect(await api.post('/admin/scan?repo=foo&tag=1.2.3')).toMatchObject({
      status: 200,
      body: { success: false, artifact: null, error: 'foo:1.2.3 is a Helm chart' }
    })
  })

  it('is 404 where the registry has no such image', async () => {
    open(scanning(async () => ({ outcome: 'not-found' })))
    expect(await api.post('/admin/scan?repo=foo&tag=1.2.3')).toMatchObject({
      status: 404,
      body: { code: 'not-found', message: 'The registry has no image foo:1.2.3' }
    })
  })

  it('is 503 with a sentence where the registry is away', async () => {
    open(scanning(async () => ({ outcome: 'unavailable', error: 'The registry at localhost:5000 does not answer.' })))
    const { status, headers, body } = await api.post('/admin/scan?repo=foo&tag=1.2.3')
    expect(status).toBe(503)
    expect(headers['retry-after']).toBe('5')
    expect(body).toMatchObject({
      code: 'registry-unavailable',
      message: 'The registry at localhost:5000 does not answer.'
    })
  })

  it.each([
    ['', 'repo is missing; tag is missing.'],
    ['?repo=foo', 'tag is missing.'],
    ['?repo=&tag=1.2.3', 'repo is missing.'],
    ['?repo=Foo&tag=1.2.3', 'repo must be the name of a repository.'],
    ['?repo=foo&tag=1.2.3%20', 'tag must be a tag.'],
    ['?repo=foo/../bar&tag=1', 'repo must be the name of a repository.']
  ])('%s is 400: %s', async (query, message) => {
    const scanNow = vi.fn<ScanNow>()
    open(scanning(scanNow))
    expect(await api.post(`/admin/scan${query}`)).toMatchObject({ status: 400, body: { message } })
    expect(scanNow).not.toHaveBeenCalled()
  })

  it('takes a request without a body, whatever type it announces', async () => {
    open()
    const headers = { 'content-type': 'application/json' }
    expect((await api.post('/admin/scan?repo=foo&tag=1', undefined, headers)).status).toBe(404)
  })
})

describe('who may do what', () => {
  it('admin routes are open on loopback while no token is set', async () => {
    open()
    expect((await api.post('/admin/scan?repo=foo&tag=1')).status).toBe(404)
  })

  it('admin routes are closed, and say why, where others can reach the service and no token is set', async () => {
    open({ host: '0.0.0.0' })
    for (const path of ['/admin/scan?repo=foo&tag=1', '/cdp-portal-backend/ADMIN/scan', '/Admin/Scan/']) {
      const { status, body } = await api.post(path, undefined, { authorization: 'Bearer undefined' })
      expect(status).toBe(403)
      expect(body).toMatchObject({ code: 'forbidden', message: expect.stringContaining('ADMIN_TOKEN is not set') })
    }
  })

  it('admin routes ask for the admin token where it is set', async () => {
    open({ adminToken: 'the-admin-token', writeToken: 'the-write-token' })
    const url = '/admin/scan?repo=foo&tag=1'
    const missing = await api.post(url)
    expect(missing).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
    expect(missing.headers['www-authenticate']).toBe('Bearer realm="cdp-portal-backend"')
    const wrong = await api.post(url, undefined, { authorization: 'Bearer nonsense' })
    expect(wrong.status).toBe(401)
    expect(wrong.headers['www-authenticate']).toContain('error="invalid_token"')
    const write = await api.post(url, undefined, { authorization: 'Bearer the-write-token' })
    expect(write).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    expect((await api.post(url, undefined, { authorization: 'bearer the-admin-token' })).status).toBe(404)
    expect(JSON.stringify([missing.body, wrong.body, write.body])).not.toMatch(/the-(admin|write)-token|nonsense/)
  })

  it('the other writes ask for a token only where one is set; either serves', async () => {
    const body = { service: 'foo', version: '1.0.0', environment: 'dev' }
    const writes = async (headers: Record<string, string>) => [
      (await api.post('/deployments', body, headers)).status,
      (await api.post('/artifacts/placeholder?service=foo', undefined, headers)).status
    ]
    open()
    expect(await writes({})).toEqual([200, 200])
    await api.close()
    open({ writeToken: 'the-write-token', adminToken: 'the-admin-token' })
    expect(await writes({})).toEqual([401, 401])
    expect(await writes({ authorization: 'Bearer null' })).toEqual([401, 401])
    expect(await writes({ authorization: 'Bearer the-write-token' })).toEqual([200, 200])
    expect(await writes({ authorization: 'Bearer the-admin-token' })).toEqual([200, 200])
    expect((await api.get('/deployments')).status).toBe(200)
  })

  it('a refused write is not read: its body may be anything', async () => {
    open({ writeToken: 'the-write-token' })
    const headers = { 'content-type': 'application/json' }
    const response = await api.app.inject({ method: 'POST', url: '/deployments', headers, payload: '{' })
    expect(response.statusCode).toBe(401)
  })
})
