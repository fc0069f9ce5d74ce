import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../src/domain/digest.ts'
import { type FakeRegistry, startRegistry } from '../../test/fakes/registry.ts'
import {
  cutAfter,
  damage,
  endless,
  redirectTo,
  refuse,
  setHeader,
  stallAfter,
  times,
  truncateUntold,
  when,
  withoutHeader
} from '../../test/fakes/registry-misbehaviour.ts'
import { OCI_INDEX, OCI_MANIFEST, putImage, tinyImage } from '../../test/fakes/tiny-image.ts'
import { createRegistry, type Registry, type RegistryOptions } from './client.ts'
import { isPassing, RegistryError } from './errors.ts'

let fake: FakeRegistry
let clients: Registry[]
let waits: number[]
let now: number

beforeEach(async () => {
  fake = await startRegistry()
  clients = []
  waits = []
  now = Date.parse('2026-01-02T03:04:05Z')
})

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()))
  await fake.close()
})

function client(options: Partial<RegistryOptions> = {}): Registry {
  const clock = {
    now: () => now,
    sleep: async (ms: number) => {
      waits.push(ms)
      now += ms
    }
  }
  const created = createRegistry({ url: fake.url, clock, ...options })
  clients.push(created)
  return created
}

function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'none',
    (error) => (error instanceof RegistryError ? error.code : error)
  )
}

describe('the address of a registry', () => {
  it.each([
    'localhost:5000',
    'ftp://localhost',
    'http://user:password@localhost',
    'http://password@localhost',
    'http://localhost/path',
    'http://localhost?query',
    'nothing'
  ])('is not %s, and the error does not quote it', (url) => {
    expect(() => createRegistry({ url })).toThrow(
      expect.objectContaining({ code: 'invalid', message: expect.not.stringContaining('password') })
    )
  })
})

describe('a manifest', () => {
  const image = tinyImage()

  it('is found by tag and by digest, hashed, and asked for in all four forms', async () => {
    const stored = putImage(fake, 'team/service', '1.0.0', image)
    const source = client().image('team/service')
    const byTag = await source.manifest('1.0.0')
    expect(byTag).toMatchObject({ digest: stored.digest, mediaType: OCI_MANIFEST })
    expect(Buffer.from(byTag.bytes).toString()).toBe(JSON.stringify(image.manifest))
    expect(await source.manifest(stored.digest)).toEqual(byTag)
    expect(source.description).toBe(`${fake.host}/team/service`)
    const accept = fake.requests[0]?.headers.accept?.split(', ')
    expect(accept?.sort()).toEqual([
      'application/vnd.docker.distribution.manifest.list.v2+json',
      'application/vnd.docker.distribution.manifest.v2+json',
      'application/vnd.oci.image.index.v1+json',
      'application/vnd.oci.image.manifest.v1+json'
    ])
  })

  it('needs no Docker-Content-Digest', async () => {
    const stored = putImage(fake, 'service', '1.0.0', image)
    fake.misbehave(withoutHeader('docker-content-digest'))
    expect((await client().image('service').manifest('1.0.0')).digest).toBe(stored.digest)
  })

  it('may have a digest in sha512', async () => {
    const digest = digestOf(JSON.stringify(image.manifest), 'sha512')
    fake.putManifest('service', digest, image.manifest, OCI_MANIFEST)
    expect((await client().image('service').manifest(digest)).digest).toBe(digest)
  })

  it('is refused where it is not what its digest says, by tag as by digest', async () => {
    const stored = putImage(fake, 'service', '1.0.0', image)
    fake.misbehave(damage())
    const source = client().image('service')
    for (const reference of ['1.0.0', stored.digest]) {
      expect(await codeOf(source.manifest(reference))).toBe('digest-mismatch')
    }
    expect(fake.requests).toHaveLength(2)
  })

  it('has the type that its body says, whatever the server says', async () => {
    putImage(fake, 'service', '1.0.0', image)
    fake.misbehave(setHeader('content-type', OCI_INDEX))
    expect((await client().image('service').manifest('1.0.0')).mediaType).toBe(OCI_MANIFEST)
  })

  it.each([
    ['what the server says', { manifests: [] }, 'application/vnd.docker.distribution.manifest.list.v2+json; charset=x'],
    ['its fields', { config: {}, layers: [] }, 'text/plain'],
    ['its fields', { manifests: [] }, OCI_MANIFEST]
  ])('has the type of %s where it does not say', async (_by, document, contentType) => {
    fake.putManifest('service', '1.0.0', { schemaVersion: 2, ...document }, contentType)
    const expected = { 'text/plain': OCI_MANIFEST, [OCI_MANIFEST]: OCI_INDEX }[contentType]
    expect((await client().image('service').manifest('1.0.0')).mediaType).toBe(expected ?? contentType.split(';')[0])
  })

  it('is invalid where it is an index and an image at once, or no JSON object', async () => {
    fake.putManifest('service', 'both', { manifests: [], layers: [], config: {} }, OCI_INDEX)
    fake.putManifest('service', 'text', Buffer.from('hello'), OCI_MANIFEST)
    fake.putManifest('service', 'list', [], OCI_MANIFEST)
    const source = client().image('service')
    for (const tag of ['both', 'text', 'list']) expect(await codeOf(source.manifest(tag))).toBe('invalid')
  })

  it('is unsupported in Docker’s first schema, whose digest is of a part of it', async () => {
    fake.putManifest('service', '1.0.0', { schemaVersion: 1, fsLayers: [] }, 'application/json')
    fake.misbehave(setHeader('docker-content-digest', digestOf('a part of it')))
    await expect(client().image('service').manifest('1.0.0')).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('first manifest schema')
    })
  })

  it('that is not there is named in the error', async () => {
    putImage(fake, 'service', '1.0.0', image)
    await expect(client().image('service').manifest('2.0.0')).rejects.toMatchObject({
      code: 'not-found',
      message: `${fake.host}/service:2.0.0 was not found (status 404, MANIFEST_UNKNOWN)`
    })
    expect(fake.requests).toHaveLength(1)
  })

  it.each(['', '../x', 'a b', 'a/../../x', 'x?y'])(
    'has no reference %j, nor a repository of that name',
    async (name) => {
      expect(await codeOf(client().image('service').manifest(name))).toBe('invalid')
      expect(() => client().image(name)).toThrow(expect.objectContaining({ code: 'invalid' }))
      expect(await codeOf(Array.fromAsync(client().tags(name)))).toBe('invalid')
      expect(fake.requests).toEqual([])
    }
  )
})

describe('a list', () => {
  it('is read over its pages, which stay at the registry', async () => {
    const image = tinyImage()
    const tags = Array.from({ length: 1_201 }, (_, at) => `1.0.${String(at).padStart(4, '0')}`)
    for (const tag of tags) putImage(fake, 'service', tag, image)
    expect(await Array.fromAsync(client().tags('service'))).toEqual(tags)
    expect(fake.requests).toHaveLength(3)
    expect(await Array.fromAsync(client().repositories())).toEqual(['service'])
  })

  it('is not followed to another server', async () => {
    const other = await startRegistry()
    putImage(fake, 'service', '1.0.0', tinyImage())
    fake.misbehave(setHeader('link', `<${other.url}/v2/_catalog?last=x>; rel="next"`))
    expect(await codeOf(Array.fromAsync(client().repositories()))).toBe('invalid')
    expect(other.requests).toEqual([])
    await other.close()
  })

  it('that links to itself ends', async () => {
    putImage(fake, 'service', '1.0.0', tinyImage())
    fake.misbehave(setHeader('link', '</v2/_catalog>; rel=next'))
    expect(await codeOf(Array.fromAsync(client({ limits: { pages: 5 } }).repositories()))).toBe('invalid')
    expect(fake.requests).toHaveLength(5)
  })

  it.each([
    ['{"tags":null}', []],
    ['{"tags":["1.0.0","../../x","ok"]}', ['1.0.0', 'ok']]
  ])('is read from %s', async (body, tags) => {
    fake.misbehave(() => ({ status: 200, headers: {}, body: Buffer.from(body) }))
    expect(await Array.fromAsync(client().tags('service'))).toEqual(tags)
  })

  it('is invalid where it is none', async () => {
    fake.misbehave(() => ({ status: 200, headers: {}, body: Buffer.from('{"tags":"1.0.0"}') }))
    expect(await codeOf(Array.fromAsync(client().tags('service')))).toBe('invalid')
  })
})

describe('a registry that fails in passing', () => {
  beforeEach(() => {
    putImage(fake, 'service', '1.0.0', tinyImage())
  })

  it('is asked again after growing waits', async () => {
    fake.misbehave(times(3, refuse(503)))
    await client().image('service').manifest('1.0.0')
    expect(fake.requests).toHaveLength(4)
    expect(waits).toHaveLength(3)
    for (const [at, longest] of [250, 500, 1_000].entries()) {
      expect(waits[at]).toBeGreaterThanOrEqual(longest / 2)
      expect(waits[at]).toBeLessThanOrEqual(longest)
    }
  })

  it.each([
    [429, 'throttled'],
    [500, 'unavailable'],
    [504, 'unavailable'],
    [408, 'unavailable']
  ])('is given up after four tries: %i is %s', async (status, code) => {
    fake.misbehave(refuse(status))
    const error = await client()
      .image('service')
      .manifest('1.0.0')
      .catch((caught: unknown) => caught)
    expect([error instanceof RegistryError && error.code, isPassing(error)]).toEqual([code, true])
    expect(fake.requests).toHaveLength(4)
  })

  it.each([400, 403, 404, 405, 418])('is not asked again after %i', async (status) => {
    fake.misbehave(refuse(status))
    const error = await client()
      .image('service')
      .manifest('1.0.0')
      .catch((caught: unknown) => caught)
    expect([error instanceof RegistryError, isPassing(error)]).toEqual([true, false])
    expect(fake.requests).toHaveLength(1)
  })

  it('is left alone for as long as it asks', async () => {
    fake.misbehave(times(1, refuse(429, { 'retry-after': '7' })))
    await client().image('service').manifest('1.0.0')
    const later = new Date(now + 9_000).toUTCString()
    fake.misbehave(times(1, refuse(503, { 'retry-after': later })))
    await client().image('service').manifest('1.0.0')
    expect(waits).toEqual([7_000, 9_000])
  })

  it('is given up at once where it asks for more than we wait, and the error says how long', async () => {
    fake.misbehave(refuse(429, { 'retry-after': '31' }))
    await expect(client().image('service').manifest('1.0.0')).rejects.toMatchObject({
      code: 'throttled',
      retryAfterMs: 31_000
    })
    expect([fake.requests.length, waits]).toEqual([1, []])
  })

  it('is asked again where the connection is cut or the answer breaks off', async () => {
    fake.misbehave(times(2, cutAfter(10)))
    await client().image('service').manifest('1.0.0')
    expect(fake.requests).toHaveLength(3)
  })

  it('is unavailable where nothing listens', async () => {
    const { url } = fake
    await fake.close()
    const error = await client({ url })
      .image('service')
      .manifest('1.0.0')
      .catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining(fake.host) })
    expect(waits).toHaveLength(3)
    fake = await startRegistry()
  })
})

describe('a registry without end', () => {
  beforeEach(() => {
    putImage(fake, 'service', '1.0.0', tinyImage())
  })

  it('sends no manifest or list above its limit, told or untold', async () => {
    const registry = client({ limits: { manifestBytes: 100_000, listBytes: 100_000 } })
    const end = fake.misbehave(endless())
    expect(await codeOf(registry.image('service').manifest('1.0.0'))).toBe('too-large')
    expect(await codeOf(Array.fromAsync(registry.repositories()))).toBe('too-large')
    end()
    fake.putManifest('service', 'large', Buffer.alloc(100_001), OCI_MANIFEST)
    expect(await codeOf(registry.image('service').manifest('large'))).toBe('too-large')
    fake.misbehave(truncateUntold(100_001))
    expect(await codeOf(registry.image('service').manifest('large'))).toBe('too-large')
    expect(fake.requests).toHaveLength(4)
  })

  it('that is silent is a timeout, after all tries', async () => {
    fake.misbehave(stallAfter(5))
    const registry = client({ limits: { idleMs: 50, attempts: 2 } })
    expect(await codeOf(registry.image('service').manifest('1.0.0'))).toBe('timeout')
    expect(fake.requests).toHaveLength(2)
  })

  it('that does not even answer is a timeout', async () => {
    fake.misbehave(({ closed }) => new Promise((_, reject) => closed.addEventListener('abort', reject)))
    const registry = client({ limits: { idleMs: 50, attempts: 1 } })
    expect(await codeOf(registry.image('service').manifest('1.0.0'))).toBe('timeout')
  })

  it('is given up when the whole takes too long, without another try', async () => {
    fake.misbehave(stallAfter(5))
    const registry = client({ limits: { documentMs: 50 } })
    await expect(registry.image('service').manifest('1.0.0')).rejects.toMatchObject({
      code: 'timeout',
      message: `${fake.host}/service:1.0.0 took longer than 0.05 seconds`
    })
    expect(fake.requests).toHaveLength(1)
  })

  it('redirects only so often', async () => {
    fake.misbehave((request, answer) => redirectTo(fake.url)(request, answer))
    expect(
      await codeOf(
        client({ limits: { redirects: 3 } })
          .image('service')
          .manifest('1.0.0')
      )
    ).toBe('invalid')
    expect(fake.requests).toHaveLength(4)
  })

  it('that answers short without saying so sends no valid manifest', async () => {
    fake.misbehave(when({ path: /manifests/ }, truncateUntold(20)))
    expect(await codeOf(client().image('service').manifest('1.0.0'))).toBe('digest-mismatch')
  })
})

describe('a signal', () => {
  it('ends a request with its reason, before, in the answer, and while waiting', async () => {
    putImage(fake, 'service', '1.0.0', tinyImage())
    const reason = new Error('enough')
    const source = client().image('service')
    expect(await codeOf(source.manifest('1.0.0', AbortSignal.abort(reason)))).toBe(reason)
    expect(fake.requests).toEqual([])
    const stalled = new AbortController()
    const end = fake.misbehave(async (request, answer) => {
      const given = await stallAfter(5)(request, answer)
      setImmediate(() => stalled.abort(reason))
      return given
    })
    expect(await codeOf(source.manifest('1.0.0', stalled.signal))).toBe(reason)
    end()
    fake.misbehave(refuse(429, { 'retry-after': '20' }))
    const waiting = new AbortController()
    const patient = createRegistry({
      url: fake.url,
      clock: {
        now: () => now,
        sleep: async (_ms, signal) => {
          waiting.abort(reason)
          signal.throwIfAborted()
        }
      }
    })
    clients.push(patient)
    expect(await codeOf(patient.image('service').manifest('1.0.0', waiting.signal))).toBe(reason)
  })
})

describe('closing', () => {
  it('ends what is under way', async () => {
    putImage(fake, 'service', '1.0.0', tinyImage())
    const registry = client({ limits: { attempts: 1 } })
    fake.misbehave(async (request, answer) => {
      const given = await stallAfter(5)(request, answer)
      setImmediate(() => void registry.close())
      return given
    })
    expect(await codeOf(registry.image('service').manifest('1.0.0'))).toBe('unavailable')
  })
})
