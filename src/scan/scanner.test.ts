import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type BuiltImage, buildImage, buildIndex, buildLayer, pushImage } from '../../test/fakes/image-builder.ts'
import { type FakeRegistry, startRegistry } from '../../test/fakes/registry.ts'
import { refuse, stallAfter, when } from '../../test/fakes/registry-misbehaviour.ts'
import { putImage, tinyImage } from '../../test/fakes/tiny-image.ts'
import { recordDelete, recordPush } from '../artifacts/artifacts.ts'
import { digestOf } from '../domain/digest.ts'
import { createRegistry, type Registry } from '../registry/registry.ts'
import { type ScanJob, type Store, StoreError } from '../store/port.ts'
import { createSqliteStore } from '../store/sqlite/sqlite.ts'
import { createImageReader } from './read-image.ts'
import { createScanner, retryDelay, type Scanner, type ScannerDeps, type ScannerOptions } from './scanner.ts'

const ALL = { offset: 0, limit: 100 }
const SERVICE = 'defra.cdp.service.name'

let fake: FakeRegistry
let registry: Registry
let store: Store
let scanners: Scanner[]
beforeEach(async () => {
  fake = await startRegistry()
  registry = createRegistry({ url: fake.url, limits: { attempts: 1, backoffMs: 1, resumes: 0 } })
  store = createSqliteStore(':memory:')
  scanners = []
})
afterEach(async () => {
  await Promise.all(scanners.map((scanner) => scanner.stop()))
  await registry.close()
  await fake.close()
  await store.close()
})

function start(options: Partial<ScannerOptions> = {}, deps: Partial<ScannerDeps> = {}): Scanner {
  const on = deps.store ?? store
  const scanner = createScanner(
    {
      store: on,
      registry,
      reader: createImageReader(on, {}),
      log: pino({ level: 'silent' }),
      now: Date.now,
      instance: `instance-${scanners.length}`,
      ...deps
    },
    {
      concurrency: 1,
      platform: null,
      labels: { serviceName: SERVICE, gitUrl: 'git' },
      pollMs: 20,
      firstRetryMs: 1,
      ...options
    }
  )
  scanners.push(scanner)
  scanner.start()
  return scanner
}

const packageJson = (name: string) => ({
  path: `${name}/package.json`,
  content: JSON.stringify({ name, version: '1.0.0' })
})
const base = buildLayer([packageJson('base')])
const layerOf = (name: string) => buildLayer([packageJson(name)])
const imageOf = (name: string, service = 'orders') =>
  buildImage({ layers: [base, layerOf(name)], labels: { [SERVICE]: service } })

const pushTo = (tag: string, image: Parameters<typeof pushImage>[3]) => pushImage(fake.url, 'orders', tag, image)
/** What a push event asks for. */
const ask = (tag: string, digestHint: string | null = null, at = Date.now()) =>
  store.transact((tx) => recordPush(tx, { repository: 'orders', tag, at, digestHint, requestedAt: Date.now() }))
const jobs = async () => (await store.scanJobs(undefined, ALL)).rows
async function newestJob(): Promise<ScanJob> {
  const [job] = await jobs()
  if (job === undefined) throw new Error('no job')
  return job
}
const eventually = <T>(check: () => T | Promise<T>) => vi.waitFor(check, { timeout: 15_000, interval: 10 })
const ended = (state: ScanJob['state']) => eventually(async () => expect(await newestJob()).toMatchObject({ state }))

const gets = (path: string) =>
  fake.requests.filter((request) => request.method === 'GET' && request.path.includes(path)).length
const blobs = () => fake.requests.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/')).length
const configOf = (image: BuiltImage) => (image as ReturnType<typeof buildImage>).config.digest

describe('a scan', () => {
  it('ends with the artifact, its files and its service', async () => {
    const image = imageOf('one')
    await pushTo('1.0.0', image)
    await ask('1.0.0', image.digest)
    start()
    await ended('done')
    expect(await newestJob()).toMatchObject({
      attempts: 1,
      note: null,
      errorCode: null,
      leaseOwner: null,
      endedAt: expect.any(Number)
    })
    expect(await store.artifact('orders', '1.0.0')).toMatchObject({
      digest: image.digest,
      manifestDigest: image.digest,
      configDigest: configOf(image),
      service: 'orders',
      scan: 'complete',
      scanError: null,
      deletedAt: null,
      placeholder: false
    })
    expect((await store.image(image.digest))?.files.map(({ path }) => path)).toEqual([
      'base/package.json',
      'one/package.json'
    ])
  })

  it('of a second version fetches one manifest, one config and the layer that is new', async () => {
    const [first, second] = [imageOf('one'), imageOf('two')]
    await pushTo('1.0.0', first)
    await ask('1.0.0')
    start()
    await ended('done')
    fake.requests.length = 0
    await pushTo('2.0.0', second)
    fake.requests.length = 0
    await ask('2.0.0')
    await ended('done')
    expect(gets(base.digest)).toBe(0)
    expect([gets('/manifests/'), gets(configOf(second)), gets(layerOf('two').digest), blobs()]).toEqual([1, 1, 1, 2])
  })

  it('of layers that two images share fetches them once, though both are scanned at once', async () => {
    await pushTo('1.0.0', imageOf('one'))
    await ask('1.0.0')
    start({ concurrency: 2 })
    await ended('done')
    await pushTo('2.0.0', imageOf('two'))
    await pushTo('3.0.0', imageOf('three'))
    fake.requests.length = 0
    await ask('2.0.0')
    await ask('3.0.0')
    await eventually(async () => expect((await store.countScanJobs()).done).toBe(3))
    expect(gets(base.digest)).toBe(0)
  })

  it('of a known image asks for its manifest and config, and for no layer', async () => {
    const image = imageOf('one')
    await pushTo('1.0.0', image)
    await ask('1.0.0')
    const results: string[] = []
    start({}, { onAttempt: (result) => results.push(result) })
    await ended('done')
    await pushTo('1.0.1', image)
    fake.requests.length = 0
    await ask('1.0.1')
    await ended('done')
    await ask('1.0.0')
    await eventually(async () => expect((await store.countScanJobs()).done).toBe(3))
    expect(await store.artifact('orders', '1.0.1')).toMatchObject({ scan: 'complete', digest: image.digest })
    expect([gets('/manifests/'), gets(configOf(image)), blobs()]).toEqual([2, 2, 2])
    await eventually(() => expect(results).toEqual(['done', 'done', 'done']))
  })

  it('of a partial image reads it again', async () => {
    const image = imageOf('one')
    await pushTo('1.0.0', image)
    const restore = fake.misbehave(when({ method: 'GET', path: new RegExp(layerOf('one').digest) }, refuse(404)))
    await ask('1.0.0')
    start()
    await ended('done')
    expect(await store.artifact('orders', '1.0.0')).toMatchObject({
      scan: 'partial',
      scanError: expect.stringContaining(layerOf('one').digest)
    })
    restore()
    await ask('1.0.0')
    await eventually(async () =>
      expect(await store.artifact('orders', '1.0.0')).toMatchObject({ scan: 'complete', scanError: null })
    )
    // It was first scanned when it was first scanned.
    expect(gets(base.digest)).toBe(1)
  })

  it('makes the artifact known before its layers are read', async () => {
    const layer = layerOf('slow')
    await pushTo('1.0.0', buildImage({ layers: [layer], labels: { [SERVICE]: 'orders' } }))
    fake.misbehave(when({ method: 'GET', path: new RegExp(layer.digest) }, stallAfter(1)))
    await ask('1.0.0')
    const scanner = start()
    await eventually(async () =>
      expect(await store.artifact('orders', '1.0.0')).toMatchObject({ scan: 'pending', service: 'orders' })
    )
    expect(await store.deployableImages()).toEqual(['orders'])
    await scanner.stop()
  })

  it('of an index names its digest, and the manifest of the platform', async () => {
    const arm = buildImage({ layers: [layerOf('arm')], platform: { os: 'linux', architecture: 'arm64' } })
    const amd = imageOf('amd')
    const index = buildIndex([arm, amd])
    await pushTo('1.0.0', index)
    await ask('1.0.0', amd.digest)
    start()
    await ended('done')
    expect(await store.artifact('orders', '1.0.0')).toMatchObject({ digest: index.digest, manifestDigest: amd.digest })
    const revisions = await store.transact((tx) => tx.revisionsOfDigest('orders', amd.digest))
    expect(revisions).toMatchObject([{ tag: '1.0.0', service: 'orders' }])
    // The event named a digest of that image: nothing to note.
    expect((await newestJob()).note).toBeNull()
  })

  it('notes that the event named another digest than the registry', async () => {
    const image = imageOf('one')
    await pushTo('1.0.0', image)
    await ask('1.0.0', digestOf('another'))
    start()
    await ended('done')
    expect((await newestJob()).note).toBe(
      `the event named ${digestOf('another')}, the registry answered ${image.digest}`
    )
    expect(await store.artifact('orders', '1.0.0')).toMatchObject({ digest: image.digest })
  })

  it('of a tag that was pushed again is of the new image; the old one stays in history', async () => {
    const [old, moved] = [imageOf('old'), imageOf('moved')]
    await pushTo('1.0.0', old)
    await ask('1.0.0')
    start()
    await ended('done')
    await pushTo('1.0.0', moved)
    await ask('1.0.0')
    await eventually(async () =>
      expect(await store.artifact('orders', '1.0.0')).toMatchObject({ digest: moved.digest })
    )
    expect(await store.transact((tx) => tx.revisionsOfDigest('orders', old.digest))).toMatchObject([{ tag: '1.0.0' }])
  })
})

describe('a scan that fails', () => {
  it('since the image is not there is tried again for some minutes, then is a failure', async () => {
    await pushTo('9.9.9', imageOf('other'))
    await ask('1.0.0')
    const results: string[] = []
    start({}, { onAttempt: (result) => results.push(result) })
    await ended('failed')
    expect(await newestJob()).toMatchObject({
      errorCode: 'not-found',
      attempts: 8,
      endedAt: expect.any(Number),
      leaseOwner: null
    })
    expect(results).toEqual([...Array.from({ length: 7 }, () => 'retried'), 'failed'])
    expect(await store.artifacts()).toEqual([])
  })

  it('since the image comes after its event ends well', async () => {
    await ask('1.0.0')
    start({ firstRetryMs: 20 })
    await eventually(async () => expect(await newestJob()).toMatchObject({ errorCode: 'not-found' }))
    await pushTo('1.0.0', imageOf('one'))
    await ended('done')
    expect(await newestJob()).toMatchObject({ errorCode: null, error: null })
  })

  it('since the tag was deleted meanwhile is cancelled', async () => {
    await pushTo('9.9.9', imageOf('other'))
    await ask('1.0.0', null, Date.now() - 10)
    await store.transact((tx) => recordDelete(tx, { repository: 'orders', tag: '1.0.0', at: Date.now() }))
    start()
    await ended('cancelled')
    expect(await newestJob()).toMatchObject({ attempts: 1, errorCode: 'not-found', note: 'the tag was deleted' })
  })

  it.each([
    ['is away', refuse(503), 'unavailable'],
    ['asks to slow down', refuse(429, { 'retry-after': '100' }), 'throttled'],
    ['lets nobody in', refuse(401), 'unauthorized']
  ])('since the registry %s is never given up', async (_, misbehaviour, errorCode) => {
    await pushTo('1.0.0', imageOf('one'))
    const restore = fake.misbehave(misbehaviour)
    await ask('1.0.0')
    start()
    // More often than what is not there is looked for.
    await eventually(async () => expect((await newestJob()).attempts).toBeGreaterThan(8))
    expect(await newestJob()).toMatchObject({ errorCode })
    restore()
    await ended('done')
  })

  it('since it is a Helm chart is a failure at once', async () => {
    const chart = tinyImage({
      configType: 'application/vnd.cncf.helm.config.v1+json',
      layerType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip'
    })
    putImage(fake, 'orders', '1.0.0', chart)
    await ask('1.0.0')
    start()
    await ended('failed')
    expect(await newestJob()).toMatchObject({
      errorCode: 'unsupported',
      attempts: 1,
      error: expect.stringMatching(/helm/i)
    })
    expect(await store.artifacts()).toEqual([])
  })

  it('since the store is away is tried again once that is back', async () => {
    await pushTo('1.0.0', imageOf('one'))
    await ask('1.0.0')
    let fails = 0
    const full: Store = {
      ...store,
      putLayer: (...given) =>
        fails++ < 6 ? Promise.reject(new StoreError('full', 'the disk is full')) : store.putLayer(...given)
    }
    const seen = new Set<string | null>()
    start(
      {},
      {
        store: {
          ...full,
          leaseScanJob: async (...given) => {
            const job = await store.leaseScanJob(...given)
            if (job !== null) seen.add(job.error)
            return job
          }
        }
      }
    )
    await ended('done')
    expect(seen).toEqual(new Set([null, 'the disk is full']))
    expect((await newestJob()).lapses).toBe(0)
  })

  it('since this program has a fault is tried a few times, and does not say what is inside', async () => {
    await pushTo('1.0.0', imageOf('one'))
    await ask('1.0.0')
    const broken: Store = { ...store, layer: () => Promise.reject(new TypeError('undefined is no function, secret')) }
    start({}, { reader: createImageReader(broken, {}) })
    await ended('failed')
    expect(await newestJob()).toMatchObject({
      attempts: 4,
      errorCode: 'internal',
      error: 'an unexpected fault, see the log'
    })
    expect(await store.artifact('orders', '1.0.0')).toMatchObject({ scan: 'pending' })
  })

  it('waits for longer each time, from a second up to five minutes', () => {
    expect([1, 2, 3, 9, 10, 100].map((attempts) => retryDelay(attempts))).toEqual([
      1_000, 2_000, 4_000, 256_000, 300_000, 300_000
    ])
    expect(retryDelay(0)).toBe(1_000)
    // So a push event may overtake its image by two minutes.
    const waits = Array.from({ length: 7 }, (_, index) => retryDelay(index + 1))
    expect(waits.reduce((sum, wait) => sum + wait, 0)).toBe(127_000)
  })
})

describe('a scan that an administrator waits for', () => {
  it('answers with the artifact', async () => {
    await pushTo('1.0.0', imageOf('one'))
    const result = await start().scanNow('orders', '1.0.0')
    expect(result).toMatchObject({
      outcome: 'scanned',
      artifact: { repository: 'orders', tag: '1.0.0', scan: 'complete' }
    })
  })

  it('is of any tag', async () => {
    await pushTo('latest', imageOf('one'))
    expect(await start().scanNow('orders', 'latest')).toMatchObject({ outcome: 'scanned', artifact: { tag: 'latest' } })
  })

  it('that the registry lacks answers so after one attempt', async () => {
    expect(await start().scanNow('orders', '1.0.0')).toEqual({ outcome: 'not-found' })
    expect(await newestJob()).toMatchObject({ state: 'failed', attempts: 1, causes: ['admin'] })
  })

  it('of what is no image answers why', async () => {
    putImage(fake, 'orders', '1.0.0', tinyImage({ configType: 'application/vnd.cncf.helm.config.v1+json' }))
    expect(await start().scanNow('orders', '1.0.0')).toEqual({ outcome: 'failed', error: expect.stringMatching(/\S/) })
  })

  it('of an image of which no layer can be read answers why', async () => {
    const layer = layerOf('one')
    await pushTo('1.0.0', buildImage({ layers: [layer] }))
    fake.misbehave(when({ method: 'GET', path: new RegExp(layer.digest) }, refuse(404)))
    expect(await start().scanNow('orders', '1.0.0')).toEqual({
      outcome: 'failed',
      error: expect.stringContaining(layer.digest)
    })
    expect(await store.artifact('orders', '1.0.0')).toMatchObject({ scan: 'failed' })
  })

  it.each([refuse(503), refuse(401)])(
    'while the registry is away or lets nobody in answers that it could not be asked',
    async (misbehaviour) => {
      fake.misbehave(misbehaviour)
      expect(await start().scanNow('orders', '1.0.0')).toEqual({
        outcome: 'unavailable',
        error: expect.stringMatching(/\S/)
      })
      expect(await newestJob()).toMatchObject({ state: 'failed', attempts: 1 })
    }
  )

  it('stands for the tag, whatever delete came before; a push event’s scan only follows its event', async () => {
    await pushTo('1.0.0', imageOf('one'))
    await ask('1.0.0', null, Date.now() - 20)
    await store.transact((tx) => recordDelete(tx, { repository: 'orders', tag: '1.0.0', at: Date.now() - 10 }))
    const scanner = start()
    await ended('done')
    expect(await store.artifact('orders', '1.0.0')).toMatchObject({ deletedAt: expect.any(Number) })
    expect(await scanner.scanNow('orders', '1.0.0')).toMatchObject({
      outcome: 'scanned',
      artifact: { deletedAt: null }
    })
  })

  it('while a push event waits for the same is told of the next attempt, and the event’s scan goes on', async () => {
    await pushTo('1.0.0', imageOf('one'))
    const restore = fake.misbehave(refuse(503))
    await ask('1.0.0')
    const scanner = start({ firstRetryMs: 200 })
    await eventually(async () => expect(await newestJob()).toMatchObject({ state: 'queued', errorCode: 'unavailable' }))
    expect(await scanner.scanNow('orders', '1.0.0')).toMatchObject({ outcome: 'unavailable' })
    expect(await newestJob()).toMatchObject({ causes: ['push', 'admin'] })
    restore()
    await ended('done')
    expect(await jobs()).toHaveLength(1)
  })

  it('ends with who waits, and goes on', async () => {
    await pushTo('1.0.0', imageOf('one'))
    const restore = fake.misbehave(when({ path: /manifests/ }, stallAfter(1)))
    const gone = new AbortController()
    const scanner = start({ leaseMs: 100_000 })
    const waiting = scanner.scanNow('orders', '1.0.0', gone.signal)
    await eventually(async () => expect(await newestJob()).toMatchObject({ state: 'running' }))
    gone.abort()
    expect(await waiting).toMatchObject({
      outcome: 'unavailable',
      error: 'the scan goes on; ask for the artifact later'
    })
    restore()
  })
})

describe('a stop', () => {
  it('gives back what is in hand, as if it had not been begun', async () => {
    const layer = layerOf('slow')
    await pushTo('1.0.0', buildImage({ layers: [layer] }))
    const restore = fake.misbehave(when({ method: 'GET', path: new RegExp(layer.digest) }, stallAfter(1)))
    await ask('1.0.0')
    const first = start()
    await eventually(async () => expect(await store.artifact('orders', '1.0.0')).toMatchObject({ scan: 'pending' }))
    await first.stop()
    expect(await newestJob()).toMatchObject({
      state: 'queued',
      attempts: 0,
      lapses: 0,
      leaseOwner: null,
      leaseUntil: null,
      errorCode: null
    })
    restore()
    start()
    await ended('done')
    expect(await newestJob()).toMatchObject({ attempts: 1 })
  })

  it('gives nothing back where another job waits for the same tag', async () => {
    const layer = layerOf('slow')
    await pushTo('1.0.0', buildImage({ layers: [layer] }))
    fake.misbehave(when({ method: 'GET', path: new RegExp(layer.digest) }, stallAfter(1)))
    await ask('1.0.0')
    const first = start()
    await eventually(async () => expect(await store.artifact('orders', '1.0.0')).toMatchObject({ scan: 'pending' }))
    await ask('1.0.0')
    await first.stop()
    expect((await jobs()).map(({ state, note }) => [state, note])).toEqual([
      ['queued', null],
      ['cancelled', 'a newer job for the same tag took its place']
    ])
  })

  it('takes no more, though there is more', async () => {
    await start().stop()
    await pushTo('1.0.0', imageOf('one'))
    await ask('1.0.0')
    scanners[0]?.wake()
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect(await newestJob()).toMatchObject({ state: 'queued', attempts: 0 })
  })
})

describe('several instances', () => {
  it('share the work, each job done once', async () => {
    const tags = Array.from({ length: 12 }, (_, index) => `1.0.${index}`)
    for (const tag of tags) await pushTo(tag, imageOf(tag))
    for (const tag of tags) await ask(tag)
    const done: number[] = [0, 0]
    for (const instance of [0, 1]) start({}, { onAttempt: () => (done[instance] = (done[instance] ?? 0) + 1) })
    await eventually(async () => expect((await store.countScanJobs()).done).toBe(12))
    expect(done.reduce((sum, count) => sum + count)).toBe(12)
    expect((await jobs()).every(({ attempts }) => attempts === 1)).toBe(true)
  })

  it('keep a job from each other for as long as its scan takes', async () => {
    const layer = layerOf('slow')
    await pushTo('1.0.0', buildImage({ layers: [layer] }))
    const released = Promise.withResolvers<void>()
    fake.misbehave(
      when({ method: 'GET', path: new RegExp(layer.digest) }, async (request, answer) => {
        await released.promise
        return answer(request)
      })
    )
    await ask('1.0.0')
    start({ leaseMs: 150 })
    start({ leaseMs: 150 })
    // Several leases long.
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(await newestJob()).toMatchObject({ state: 'running', attempts: 1, lapses: 0 })
    released.resolve()
    await ended('done')
    expect(await newestJob()).toMatchObject({ attempts: 1 })
  })

  it('refuse the result of one that comes back from the dead', async () => {
    const [old, moved] = [imageOf('old', 'old-name'), imageOf('moved', 'new-name')]
    await pushTo('1.0.0', old)
    await ask('1.0.0')
    // The first has been told what the tag names, and stands still as it wants to say so.
    const stands = Promise.withResolvers<void>()
    const goes = Promise.withResolvers<void>()
    let isFirst = true
    const frozen: Store = {
      ...store,
      renewScanJob: async () => true,
      async image(digest) {
        if (isFirst) {
          isFirst = false
          stands.resolve()
          await goes.promise
        }
        return store.image(digest)
      }
    }
    start({ leaseMs: 50 }, { store: frozen, reader: createImageReader(store, {}) })
    await stands.promise
    await pushTo('1.0.0', moved)
    start({ leaseMs: 10_000 })
    await ended('done')
    const job = await newestJob()
    const artifact = await store.artifact('orders', '1.0.0')
    expect(job).toMatchObject({ lapses: 1, attempts: 2 })
    expect(artifact).toMatchObject({ digest: moved.digest, service: 'new-name', scan: 'complete' })
    goes.resolve()
    await scanners[0]?.stop()
    expect(await newestJob()).toEqual(job)
    expect(await store.artifact('orders', '1.0.0')).toEqual(artifact)
    expect(await store.transact((tx) => tx.revisionsOfDigest('orders', old.digest))).toEqual([])
  })

  it('refuse it also while another is still at work', async () => {
    const layer = layerOf('slow')
    const [old, moved] = [imageOf('old'), buildImage({ layers: [layer], labels: { [SERVICE]: 'orders' } })]
    await pushTo('1.0.0', old)
    await ask('1.0.0')
    const stands = Promise.withResolvers<void>()
    const goes = Promise.withResolvers<void>()
    const frozen: Store = {
      ...store,
      renewScanJob: async () => true,
      async image(digest) {
        stands.resolve()
        await goes.promise
        return store.image(digest)
      }
    }
    const first = start({ leaseMs: 50 }, { store: frozen, reader: createImageReader(store, {}) })
    await stands.promise
    await pushTo('1.0.0', moved)
    const released = Promise.withResolvers<void>()
    fake.misbehave(
      when({ method: 'GET', path: new RegExp(layer.digest) }, async (request, answer) => {
        await released.promise
        return answer(request)
      })
    )
    start({ leaseMs: 10_000 })
    await eventually(async () => expect(await store.artifact('orders', '1.0.0')).toMatchObject({ scan: 'pending' }))
    const job = await newestJob()
    goes.resolve()
    await first.stop()
    expect(await newestJob()).toMatchObject({ state: 'running', token: job.token, leaseOwner: job.leaseOwner })
    expect(await store.artifact('orders', '1.0.0')).toMatchObject({ digest: moved.digest, scan: 'pending' })
    expect(await store.transact((tx) => tx.revisionsOfDigest('orders', old.digest))).toEqual([])
    released.resolve()
    await ended('done')
  })

  it('give up an image that took down everybody who scanned it', async () => {
    await pushTo('1.0.0', imageOf('one'))
    await ask('1.0.0')
    // Four that never come back.
    for (let time = 0; time < 4; time++) await store.leaseScanJob('gone', Date.now(), 0)
    start()
    await ended('failed')
    expect(await newestJob()).toMatchObject({
      errorCode: 'lapsed',
      error: 'whoever scanned it stopped without a word, several times',
      lapses: 4
    })
    expect(gets('/manifests/')).toBe(0)
  })

  it('do what one of them left, up to three times', async () => {
    await pushTo('1.0.0', imageOf('one'))
    await ask('1.0.0')
    for (let time = 0; time < 3; time++) await store.leaseScanJob('gone', Date.now(), 0)
    start()
    await ended('done')
    expect(await newestJob()).toMatchObject({ lapses: 3, attempts: 4 })
  })
})

describe('a runner', () => {
  it('that idles finds what is due without being woken, and at once when it is', async () => {
    await pushTo('1.0.0', imageOf('one'))
    // So long that only being woken ends it in time.
    const patient = start({ pollMs: 60_000 })
    await new Promise((resolve) => setTimeout(resolve, 30))
    await ask('1.0.0')
    patient.wake()
    await ended('done')
    await patient.stop()
    start({ pollMs: 10 })
    await new Promise((resolve) => setTimeout(resolve, 30))
    await pushTo('2.0.0', imageOf('two'))
    await ask('2.0.0')
    await eventually(async () => expect((await store.countScanJobs()).done).toBe(2))
  })

  it('goes on when the store has been away', async () => {
    let fails = 3
    const away: Store = {
      ...store,
      leaseScanJob: (...given) =>
        fails-- > 0 ? Promise.reject(new StoreError('unavailable', 'away')) : store.leaseScanJob(...given)
    }
    await pushTo('1.0.0', imageOf('one'))
    await ask('1.0.0')
    start({}, { store: away })
    await ended('done')
  })
})
