import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTestApi, type TestApi } from '../../../test/api.ts'

let api: TestApi
beforeEach(() => {
  api = createTestApi()
})
afterEach(() => api.close())

describe('services', () => {
  it('has one entry for each, from its newest artifact, sorted by name', async () => {
    await api.image('zebra-image', '1.0.0', { service: 'zebra', gitUrl: 'old' })
    await api.image('zebra-image', '1.10.0', { service: 'zebra', gitUrl: 'git+https://Example.org/Zebra.git' })
    await api.image('zebra-image', '1.9.0', { service: 'zebra', gitUrl: 'middle' })
    await api.image('ant', '0.1.0')
    expect(await api.get('/services')).toMatchObject({
      status: 200,
      body: [
        { serviceName: 'ant', githubUrl: null, imageName: 'ant', teams: [] },
        // The label unchanged.
        { serviceName: 'zebra', githubUrl: 'git+https://Example.org/Zebra.git', imageName: 'zebra-image', teams: [] }
      ]
    })
  })

  it('never gives a service a field of a repository', async () => {
    await api.image('ant', '0.1.0')
    const { body } = await api.get('/services/ant')
    expect(Object.keys(body).sort()).toEqual(['githubUrl', 'imageName', 'serviceName', 'teams'])
  })

  it('puts a placeholder last', async () => {
    await api.post('/artifacts/placeholder?service=ant&githubUrl=placeholder')
    expect((await api.get('/services/ant')).body.githubUrl).toBe('placeholder')
    await api.image('ant', '0.0.1', { gitUrl: 'real' })
    expect((await api.get('/services/ant')).body.githubUrl).toBe('real')
  })

  it('is 404 where there is none', async () => {
    expect(await api.get('/services/nobody')).toMatchObject({ status: 404, body: { code: 'not-found' } })
  })

  it('leaves out an image without the label', async () => {
    await api.image('unlabelled', '1.0.0', { service: null })
    expect((await api.get('/services')).body).toEqual([])
    expect((await api.get('/deployables')).body).toEqual([])
    expect((await api.get('/deployables/unlabelled')).body).toEqual([])
    expect((await api.get('/artifacts')).body).toMatchObject([{ repo: 'unlabelled', serviceName: null }])
  })

  it('understands a name with slashes, encoded or raw', async () => {
    await api.image('team/image', '1.0.0', { service: 'team/service' })
    for (const path of ['/services/team%2Fservice', '/services/team/service', '/Services/team/service/']) {
      expect(await api.get(path)).toMatchObject({ status: 200, body: { serviceName: 'team/service' } })
    }
  })
})

describe('artifacts', () => {
  it('lists all by name, then newest version first, without files', async () => {
    await api.image('foo', '9.9.9', { files: { 'app/package.json': '{}' } })
    await api.image('foo', '10.0.0')
    await api.image('bar', '0.1.0')
    const { body } = await api.get('/artifacts')
    expect(body.map(({ repo, tag }: Record<string, string>) => `${repo}:${tag}`)).toEqual([
      'bar:0.1.0',
      'foo:10.0.0',
      'foo:9.9.9'
    ])
    expect(body.map(({ files }: { files: unknown }) => files)).toEqual([null, null, null])
  })

  it('lists those of one image; none of an unknown one', async () => {
    await api.image('foo', '1.0.0')
    await api.image('bar', '1.0.0')
    expect((await api.get('/artifacts/foo')).body).toMatchObject([{ repo: 'foo', tag: '1.0.0', files: null }])
    expect(await api.get('/artifacts/unknown')).toMatchObject({ status: 200, body: [] })
  })

  it('shows one with everything that is known of it', async () => {
    const { configDigest, layer, manifestDigest } = await api.image('foo', '1.2.3', {
      service: 'foo-service',
      gitUrl: 'https://github.com/DEFRA/foo',
      files: { 'app/package.json': '{"name":"foo"}' }
    })
    const { status, body } = await api.get('/artifacts/foo/1.2.3')
    expect(status).toBe(200)
    expect(body).toEqual({
      created: '2024-05-01T12:00:00.000Z',
      repo: 'foo',
      tag: '1.2.3',
      sha256: configDigest,
      githubUrl: 'https://github.com/DEFRA/foo',
      serviceName: 'foo-service',
      scannerVersion: 1,
      teams: [],
      files: [{ fileName: 'package.json', path: 'app/package.json', layerSha256: layer }],
      semVer: 4_295_098_371,
      digest: manifestDigest,
      scan: 'complete',
      scanError: null,
      deletedAt: null
    })
  })

  it('has no semVer where a part is above 65535, and sorts it all the same', async () => {
    await api.image('foo', '1.65536.0')
    await api.image('foo', '1.65535.9')
    const { body } = await api.get('/artifacts/foo')
    expect(body).toMatchObject([
      { tag: '1.65536.0', semVer: null },
      { tag: '1.65535.9', semVer: 8_589_869_065 }
    ])
  })

  it('says how far an image was read, and has no files while it was not', async () => {
    await api.image('foo', '1.0.0', { scan: 'failed', scanError: 'layer 2 is truncated', files: {} })
    await api.image('foo', '2.0.0', { scan: 'pending' })
    await api.image('foo', '3.0.0', { scan: 'partial', scanError: 'one file is too large', files: { 'a/b.json': '1' } })
    expect((await api.get('/artifacts/foo/1.0.0')).body).toMatchObject({
      scan: 'failed',
      scanError: 'layer 2 is truncated',
      files: null
    })
    expect((await api.get('/artifacts/foo/2.0.0')).body).toMatchObject({ scan: 'pending', files: null })
    expect((await api.get('/artifacts/foo/3.0.0')).body).toMatchObject({
      scan: 'partial',
      files: [{ path: 'a/b.json' }]
    })
  })

  it('is 404 with the image and tag in its message', async () => {
    const { status, body } = await api.get('/artifacts/foo/1.2.3')
    expect(status).toBe(404)
    expect(body.message).toBe('foo:1.2.3 was not found')
  })

  it('understands the name of an image with slashes, encoded', async () => {
    await api.image('team/image', '1.0.0')
    expect(await api.get('/artifacts/team%2Fimage')).toMatchObject({ status: 200, body: [{ repo: 'team/image' }] })
    expect(await api.get('/artifacts/team%2Fimage/1.0.0')).toMatchObject({ status: 200, body: { repo: 'team/image' } })
  })

  it('a deleted one answers by name, and lists leave it out', async () => {
    await api.image('foo', '1.0.0')
    await api.deleteTag('foo', '1.0.0', 60)
    expect((await api.get('/artifacts')).body).toEqual([])
    expect((await api.get('/artifacts/foo')).body).toEqual([])
    expect((await api.get('/services')).body).toEqual([])
    expect((await api.get('/deployables')).body).toEqual([])
    expect(await api.get('/artifacts/foo/1.0.0')).toMatchObject({
      status: 200,
      body: { deletedAt: '2024-05-01T13:00:00.000Z' }
    })
  })
})

describe('placeholders', () => {
  it('make a service known before its first image', async () => {
    const { status, body } = await api.post(
      '/artifacts/placeholder?service=new-one&githubUrl=https://github.com/DEFRA/new-one'
    )
    expect(status).toBe(200)
    expect(body).toMatchObject({
      repo: 'new-one',
      tag: '0.0.0',
      serviceName: 'new-one',
      githubUrl: 'https://github.com/DEFRA/new-one',
      sha256: '',
      semVer: 0,
      files: [],
      digest: null,
      created: '2024-05-01T12:00:00.000Z'
    })
    expect((await api.get('/artifacts/new-one/0.0.0')).body).toEqual(body)
    expect((await api.get('/services')).body).toMatchObject([{ serviceName: 'new-one', imageName: 'new-one' }])
    expect((await api.get('/deployables')).body).toEqual(['new-one'])
    expect((await api.get('/deployables/new-one')).body).toEqual(['0.0.0'])
  })

  it('the same again changes nothing', async () => {
    const first = await api.post('/artifacts/placeholder?service=new-one&githubUrl=a')
    api.setClock(5)
    const second = await api.post('/artifacts/placeholder?service=new-one&githubUrl=b')
    expect(second.body).toEqual(first.body)
  })

  it('take a request without a body, whatever type it announces', async () => {
    const headers = { 'content-type': 'application/json' }
    expect((await api.post('/artifacts/placeholder?service=new-one', undefined, headers)).status).toBe(200)
  })

  it.each([
    ['/artifacts/placeholder', 'service is missing.'],
    ['/artifacts/placeholder?service=', 'service is missing.'],
    ['/artifacts/placeholder?service=No%20Name', 'service must be a name that an image can have.'],
    ['/artifacts/placeholder?service=a&service=b', 'service must be a text.']
  ])('%s is 400: %s', async (url, message) => {
    expect(await api.post(url)).toMatchObject({ status: 400, body: { message, code: 'invalid-parameter' } })
  })
})

describe('files', () => {
  it('are served as they are in a layer, whichever way layer and path are written', async () => {
    const { layer } = await api.image('foo', '1.0.0', { files: { 'app/package.json': '{ "name": "foo" }\n' } })
    const bare = layer.replace('sha256:', '')
    for (const url of [
      `/files/${layer}?path=app/package.json`,
      `/files/${bare}?path=app/package.json`,
      `/files/${encodeURIComponent(layer)}?path=%2Fapp%2Fpackage.json`
    ]) {
      const response = await api.app.inject(url)
      expect(response.statusCode).toBe(200)
      expect(response.body).toBe('{ "name": "foo" }\n')
      expect(response.headers['content-type']).toBe('application/json; charset=utf-8')
    }
  })

  it.each(['pom.xml', 'index.html', 'logo.svg', 'yarn.lock', 'script.js', 'noextension', 'page.json.html'])(
    '%s is no type that a browser would run',
    async (path) => {
      const { layer } = await api.image('foo', '1.0.0', { files: { [path]: '<script>alert(1)</script>' } })
      const { headers, statusCode } = await api.app.inject(`/files/${layer}?path=${path}`)
      expect(statusCode).toBe(200)
      expect(headers['content-type']).toBe('text/plain; charset=utf-8')
      expect(headers['x-content-type-options']).toBe('nosniff')
      expect(headers['content-security-policy']).toBe("default-src 'none'; sandbox")
    }
  )

  it('are 404 for an unknown layer or path, 400 without a path', async () => {
    const { layer } = await api.image('foo', '1.0.0', { files: { 'a.json': '1' } })
    expect((await api.get(`/files/${layer}?path=b.json`)).status).toBe(404)
    expect((await api.get(`/files/sha256:${'0'.repeat(64)}?path=a.json`)).status).toBe(404)
    expect((await api.get('/files/nonsense?path=a.json')).status).toBe(404)
    expect(await api.get(`/files/${layer}`)).toMatchObject({ status: 400, body: { message: 'path is missing.' } })
  })

  it('keep the bytes of any encoding', async () => {
    const { layer } = await api.image('foo', '1.0.0')
    const bytes = Uint8Array.from([0xff, 0xfe, 0x00, 0x41])
    const content = `sha256:${'1'.repeat(64)}` as const
    const known = await api.store.layer(layer)
    if (known === null) throw new Error('the layer is there')
    const files = [{ path: 'odd.txt', content, size: 4, mode: 0o644 }]
    await api.store.putLayer({ ...known, files }, [{ digest: content, bytes }], [])
    const { rawPayload } = await api.app.inject(`/files/${layer}?path=odd.txt`)
    expect([...rawPayload]).toEqual([...bytes])
  })
})

describe('deployables', () => {
  it('are the names of images, sorted', async () => {
    await api.image('zebra', '1.0.0', { service: 'a-service' })
    await api.image('ant', '1.0.0', { service: 'z-service' })
    await api.image('untagged', 'latest')
    expect((await api.get('/deployables')).body).toEqual(['ant', 'zebra'])
  })

  it('have their semver tags, newest first by version', async () => {
    for (const tag of ['9.9.9', '10.0.0', 'latest', '1.0.0-beta', 'v2.0.0']) await api.image('foo', tag)
    expect((await api.get('/deployables/foo')).body).toEqual(['10.0.0', '9.9.9', 'v2.0.0'])
  })

  it('of an unknown image are none', async () => {
    expect(await api.get('/deployables/unknown')).toMatchObject({ status: 200, body: [] })
  })

  it('understand a name with slashes, encoded or raw', async () => {
    await api.image('team/image', '1.0.0')
    expect((await api.get('/deployables/team%2Fimage')).body).toEqual(['1.0.0'])
    expect((await api.get('/deployables/team/image')).body).toEqual(['1.0.0'])
    expect((await api.get('/cdp-portal-backend/deployables/team/image/')).body).toEqual(['1.0.0'])
  })

  it('the environments that one may deploy to are in promotion order, hidden ones left out', async () => {
    expect((await api.get('/environments')).body).toEqual([
      'infra-dev',
      'management',
      'dev',
      'test',
      'perf-test',
      'prod'
    ])
  })

  it.each(['Bearer null', 'Basic !!!', '', 'Bearer', 'nonsense'])(
    'an Authorization of "%s" is ignored',
    async (authorization) => {
      for (const path of ['/environments', '/deployables', '/services']) {
        expect((await api.get(path, { authorization })).status).toBe(200)
      }
    }
  )
})
