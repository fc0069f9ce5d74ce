import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../src/domain/digest.ts'
import { type FakeRegistry, startRegistry } from './registry.ts'
import {
  createTokenIssuer,
  cutAfter,
  damage,
  endless,
  ignoreRange,
  redirectTo,
  refuse,
  requireBasic,
  requireBearer,
  setHeader,
  stallAfter,
  times,
  truncateTo,
  truncateUntold,
  when,
  withoutHeader
} from './registry-misbehaviour.ts'
import { OCI_INDEX, OCI_MANIFEST, putImage, tinyImage } from './tiny-image.ts'

let registry: FakeRegistry

beforeEach(async () => {
  registry = await startRegistry({ maxBlobBytes: 1_000, maxBytes: 5_000 })
})

afterEach(() => registry.close())

function send(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(new URL(path, registry.url), { redirect: 'manual', ...init })
}

async function begin(repository: string): Promise<string> {
  const response = await send(`/v2/${repository}/blobs/uploads/`, { method: 'POST' })
  expect(response.status).toBe(202)
  return response.headers.get('location') ?? ''
}

const content = 'what is pushed'
const digest = digestOf(content)

describe('a push', () => {
  it('takes a blob in chunks, and in one piece', async () => {
    const location = await begin('team/service')
    const first = await send(location, {
      method: 'PATCH',
      body: content.slice(0, 5),
      headers: { 'content-range': '0-4' }
    })
    expect([first.status, first.headers.get('range')]).toEqual([202, '0-4'])
    const gap = await send(location, { method: 'PATCH', body: 'x', headers: { 'content-range': '9-9' } })
    expect(gap.status).toBe(416)
    expect((await send(location, { method: 'PATCH', body: content.slice(5) })).status).toBe(202)
    const put = await send(`${location}?digest=${digest}`, { method: 'PUT' })
    expect([put.status, put.headers.get('docker-content-digest')]).toEqual([201, digest])

    const whole = await send(`/v2/other/blobs/uploads/?digest=${digest}`, { method: 'POST', body: content })
    expect(whole.status).toBe(201)
    const last = await begin('third')
    expect((await send(`${last}?digest=${digest}`, { method: 'PUT', body: content })).status).toBe(201)
    for (const name of ['team/service', 'other', 'third']) {
      expect(await (await send(`/v2/${name}/blobs/${digest}`)).text()).toBe(content)
    }
  })

  it('mounts a blob that another repository has, and begins an upload where it has none', async () => {
    registry.putBlob('one', content)
    const mount = (from: string) => send(`/v2/two/blobs/uploads/?mount=${digest}&from=${from}`, { method: 'POST' })
    expect((await mount('nowhere')).status).toBe(202)
    expect((await send(`/v2/two/blobs/${digest}`, { method: 'HEAD' })).status).toBe(404)
    expect((await mount('one')).status).toBe(201)
    expect((await send(`/v2/two/blobs/${digest}`, { method: 'HEAD' })).headers.get('content-length')).toBe('14')
  })

  it('refuses content that is not what its digest says', async () => {
    const location = await begin('service')
    const response = await send(`${location}?digest=${digest}`, { method: 'PUT', body: 'other' })
    expect([response.status, await response.json()]).toEqual([
      400,
      { errors: [expect.objectContaining({ code: 'DIGEST_INVALID' })] }
    ])
  })

  it('refuses a blob above its limit, and all blobs above theirs', async () => {
    const push = async (body: string) => (await send(await begin('service'), { method: 'PATCH', body })).status
    expect(await push('x'.repeat(1_001))).toBe(413)
    for (let times = 0; times < 5; times++) expect(await push('x'.repeat(1_000))).toBe(202)
    expect(await push('x')).toBe(413)
  })

  it('takes a manifest once all that it names is there', async () => {
    const image = tinyImage()
    const push = () =>
      send('/v2/service/manifests/1.0.0', {
        method: 'PUT',
        body: JSON.stringify(image.manifest),
        headers: { 'content-type': OCI_MANIFEST }
      })
    expect((await push()).status).toBe(400)
    for (const blob of image.blobs.values()) registry.putBlob('service', blob)
    const pushed = await push()
    expect(pushed.status).toBe(201)
    const pulled = await send('/v2/service/manifests/1.0.0')
    expect(pulled.headers.get('content-type')).toBe(OCI_MANIFEST)
    expect(digestOf(Buffer.from(await pulled.arrayBuffer()))).toBe(pushed.headers.get('docker-content-digest'))
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [{ mediaType: OCI_MANIFEST, digest, size: 1 }] }
    const body = JSON.stringify(index)
    expect((await send('/v2/service/manifests/2.0.0', { method: 'PUT', body })).status).toBe(400)
  })
})

describe('a pull', () => {
  it('serves a range of a blob', async () => {
    registry.putBlob('service', content)
    const get = (range: string) => send(`/v2/service/blobs/${digest}`, { headers: { range } })
    const part = await get('bytes=5-6')
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([206, 'bytes 5-6/14', 'is'])
    expect(await (await get('bytes=8-')).text()).toBe('pushed')
    expect((await get('bytes=14-')).status).toBe(416)
  })

  it('lists repositories and tags in pages', async () => {
    const image = tinyImage()
    for (const name of ['a', 'b/c', 'd']) putImage(registry, name, '1.0.0', image)
    putImage(registry, 'a', '2.0.0', image)
    const first = await send('/v2/_catalog?n=2')
    expect(await first.json()).toEqual({ repositories: ['a', 'b/c'] })
    const next = /<(.+)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1] ?? ''
    const second = await send(next)
    expect([await second.json(), second.headers.get('link')]).toEqual([{ repositories: ['d'] }, null])
    expect(await (await send('/v2/a/tags/list')).json()).toEqual({ name: 'a', tags: ['1.0.0', '2.0.0'] })
  })

  it('deletes tags, manifests and blobs', async () => {
    const stored = putImage(registry, 'service', '1.0.0', tinyImage())
    registry.putManifest('service', '1.0.1', tinyImage().manifest, OCI_MANIFEST)
    const status = async (path: string, method = 'HEAD') => (await send(`/v2/service/${path}`, { method })).status
    expect(await status('manifests/1.0.1', 'DELETE')).toBe(202)
    expect([await status('manifests/1.0.1'), await status('manifests/1.0.0')]).toEqual([404, 200])
    expect(await status(`manifests/${stored.digest}`, 'DELETE')).toBe(202)
    expect(await status('manifests/1.0.0')).toBe(404)
    const blob = registry.putBlob('service', content)
    expect(await status(`blobs/${blob.digest}`, 'DELETE')).toBe(202)
    expect(await status(`blobs/${blob.digest}`)).toBe(404)
  })

  it('answers what it does not know with the specification’s errors', async () => {
    putImage(registry, 'service', '1.0.0', tinyImage())
    const code = async (path: string) => {
      const response = await send(path)
      return [response.status, ((await response.json()) as { errors: { code: string }[] }).errors[0]?.code]
    }
    expect(await code('/v2/nothing/manifests/1.0.0')).toEqual([404, 'NAME_UNKNOWN'])
    expect(await code('/v2/service/manifests/2.0.0')).toEqual([404, 'MANIFEST_UNKNOWN'])
    expect(await code(`/v2/service/blobs/${digestOf('x')}`)).toEqual([404, 'BLOB_UNKNOWN'])
  })
})

describe('misbehaviour', () => {
  const path = `/v2/service/blobs/${digest}`

  beforeEach(() => {
    registry.putBlob('service', content)
  })

  it('composes, is counted, chosen by request, and ends', async () => {
    const end = registry.misbehave(when({ path: /blobs/ }, times(2, refuse(503, { 'retry-after': '7' }))))
    expect((await send('/v2/')).status).toBe(200)
    const refused = await send(path)
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '7'])
    end()
    expect((await send(path)).status).toBe(200)
    expect(registry.requests.map(({ status }) => status)).toEqual([200, 503, 200])
  })

  it('cuts, stalls, truncates and repeats bodies', async () => {
    const body = async (init?: RequestInit) => (await send(path, init)).text()
    let end = registry.misbehave(cutAfter(4))
    await expect(body()).rejects.toThrow()
    end()
    end = registry.misbehave(stallAfter(4))
    const reader = (await send(path)).body!.getReader()
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('what')
    await reader.cancel()
    end()
    for (const truncate of [truncateTo, truncateUntold]) {
      end = registry.misbehave(truncate(4))
      expect(await body()).toBe('what')
      end()
    }
    end = registry.misbehave(damage())
    expect(await body()).toMatch(/^what is pushe[^d]$/)
    end()
    end = registry.misbehave(endless())
    const endlessReader = (await send(path)).body!.getReader()
    let length = 0
    while (length < 1_000_000) length += (await endlessReader.read()).value!.length
    await endlessReader.cancel()
    end()
    end = registry.misbehave(ignoreRange())
    expect(await body({ headers: { range: 'bytes=5-' } })).toBe(content)
    end()
  })

  it('changes headers and redirects', async () => {
    registry.misbehave(withoutHeader('docker-content-digest'), setHeader('content-type', 'text/plain'))
    const response = await send(path)
    expect(response.headers.get('docker-content-digest')).toBeNull()
    expect(response.headers.get('content-type')).toBe('text/plain')
    registry.misbehave(redirectTo('http://127.0.0.2:1'))
    expect((await send(path)).headers.get('location')).toBe(`http://127.0.0.2:1${path}?signature=secret`)
  })

  it('asks for Basic credentials', async () => {
    registry.misbehave(requireBasic({ username: 'user', password: 'secret' }))
    const get = (login: string) =>
      send(path, { headers: { authorization: `Basic ${Buffer.from(login).toString('base64')}` } })
    const refused = await send(path)
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Basic realm="registry"'])
    expect((await get('user:wrong')).status).toBe(401)
    expect((await get('user:secret')).status).toBe(200)
  })

  it('asks for a token of the right scope that has not run out', async () => {
    let now = 0
    const tokens = createTokenIssuer({ lifetime: 10, now: () => now })
    registry.misbehave(when({ path: /^\/token/ }, tokens.issue), requireBearer(tokens, `${registry.url}/token`))
    const token = async (scope: string) =>
      ((await (await send(`/token?scope=${scope}`)).json()) as { token: string }).token
    const get = (bearer: string) => send(path, { headers: { authorization: `Bearer ${bearer}` } })
    expect((await send(path)).headers.get('www-authenticate')).toContain('scope="repository:service:pull"')
    expect((await get(await token('repository:other:pull'))).status).toBe(401)
    const right = await token('repository:service:pull')
    expect((await get(right)).status).toBe(200)
    now = 10_000
    expect((await get(right)).status).toBe(401)
    const newer = await token('repository:service:pull')
    expect((await get(newer)).status).toBe(200)
    tokens.revoke()
    expect((await get(newer)).status).toBe(401)
  })
})
