import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type BuiltLayer, buildImage, buildLayer, opaque, pushImage, whiteout } from '../../test/fakes/image-builder.ts'
import { type FakeRegistry, startRegistry } from '../../test/fakes/registry.ts'
import {
  cutAfter,
  damage,
  refuse,
  stallAfter,
  times,
  truncateTo,
  when
} from '../../test/fakes/registry-misbehaviour.ts'
import { createRegistry, type Registry, resolveImage } from '../registry/registry.ts'
import type { ExtractionRecord, Store } from '../store/port.ts'
import { createSqliteStore } from '../store/sqlite/sqlite.ts'
import { createImageReader, type ImageReading } from './read-image.ts'

let fake: FakeRegistry
let registry: Registry
let store: Store
beforeEach(async () => {
  fake = await startRegistry()
  registry = createRegistry({ url: fake.url, limits: { attempts: 1, backoffMs: 1, resumes: 0, idleMs: 2_000 } })
  store = createSqliteStore(':memory:')
})
afterEach(async () => {
  await registry.close()
  await fake.close()
  await store.close()
})

const json = (name: string, version = '1.0.0') => JSON.stringify({ name, version })
const packageJson = (path: string, name: string, version?: string) => ({ path, content: json(name, version) })

type Limits = Parameters<typeof createImageReader>[1]

async function layersOf(...layers: readonly BuiltLayer[]) {
  await pushImage(fake.url, 'orders', '1.0.0', buildImage({ layers }))
  return (await resolveImage(registry.image('orders'), '1.0.0')).layers
}

async function readAll(
  layers: readonly BuiltLayer[],
  limits: Limits = {},
  signal?: AbortSignal
): Promise<ImageReading> {
  const descriptors = await layersOf(...layers)
  return createImageReader(store, limits).read(registry.image('orders'), descriptors, signal)
}

const fetches = (layer: BuiltLayer) =>
  fake.requests.filter(({ method, path }) => method === 'GET' && path.includes(layer.digest)).length
const blobOf = (layer: BuiltLayer) => ({ method: 'GET', path: new RegExp(layer.digest) })
const shown = ({ result }: ImageReading) => result.files.map(({ path }) => path)

async function contentOf(file: { layer: string; path: string } | undefined): Promise<string | null> {
  const bytes = file === undefined ? null : await store.layerFile(file.layer as `sha256:${string}`, file.path)
  return bytes === null ? null : Buffer.from(bytes).toString()
}

describe('the files of an image', () => {
  it('are those of its final file system, each in the layer that put it there', async () => {
    const base = buildLayer([
      packageJson('a/package.json', 'below'),
      packageJson('b/package.json', 'removed'),
      packageJson('c/package.json', 'hidden'),
      packageJson('d/package.json', 'stays')
    ])
    const upper = buildLayer([
      packageJson('a/package.json', 'above'),
      whiteout('b/package.json'),
      opaque('c'),
      packageJson('c/new/package.json', 'shown')
    ])
    const reading = await readAll([base, upper])
    expect(reading.result).toMatchObject({ scan: 'complete', scanError: null })
    expect(reading.result.files.map(({ path, layer }) => [path, layer])).toEqual([
      ['a/package.json', upper.digest],
      ['c/new/package.json', upper.digest],
      ['d/package.json', base.digest]
    ])
    expect(await Promise.all(reading.result.files.map(contentOf))).toEqual([
      json('above'),
      json('shown'),
      json('stays')
    ])
    // The layer below has them all the same.
    expect(await contentOf({ layer: base.digest, path: 'b/package.json' })).toBe(json('removed'))
    expect(reading.extractions.flatMap(({ packages }) => packages.map(({ name }) => name)).sort()).toEqual([
      'above',
      'shown',
      'stays'
    ])
  })

  it('are those that somebody reads or that are served, and no other', async () => {
    const reading = await readAll([
      buildLayer([
        packageJson('package.json', 'a'),
        { path: 'bin/sh', content: 'x' },
        { path: 'notes.txt', content: 'y' }
      ])
    ])
    expect(shown(reading)).toEqual(['package.json'])
  })

  it('of an image without layers are none', async () => {
    expect((await readAll([])).result).toEqual({ scan: 'complete', scanError: null, files: [] })
  })
})

describe('a layer', () => {
  it('that is known is not fetched', async () => {
    const [base, first, second] = [
      buildLayer([packageJson('a/package.json', 'a')]),
      buildLayer([packageJson('b/package.json', 'b', '1.0.0')]),
      buildLayer([packageJson('b/package.json', 'b', '2.0.0')])
    ] as const
    expect((await readAll([base, first])).fetched).toBe(2)
    const reading = await readAll([base, second])
    expect(reading.fetched).toBe(1)
    expect(shown(reading)).toEqual(['a/package.json', 'b/package.json'])
    expect([base, first, second].map(fetches)).toEqual([1, 1, 1])
  })

  it('that an image has twice is fetched once', async () => {
    const layer = buildLayer([packageJson('a/package.json', 'a')])
    const between = buildLayer([whiteout('a/package.json')])
    const reading = await readAll([layer, between, layer])
    expect(shown(reading)).toEqual(['a/package.json'])
    expect(fetches(layer)).toBe(1)
  })

  it('that an older reader has read is read again', async () => {
    const layer = buildLayer([packageJson('a/package.json', 'a')])
    await readAll([layer])
    const known = await store.layer(layer.digest)
    if (known === null) throw new Error('not kept')
    await store.putLayer({ ...known, scannerVersion: 0, files: [] }, [], [])
    expect(shown(await readAll([layer]))).toEqual(['a/package.json'])
    expect(fetches(layer)).toBe(2)
  })

  it('of which another config says that it unpacks to something else is not believed', async () => {
    const layer = buildLayer([packageJson('a/package.json', 'a')])
    await readAll([layer])
    const [descriptor] = await layersOf(layer)
    if (descriptor === undefined) throw new Error('no layer')
    const other = { ...descriptor, diffId: `sha256:${'0'.repeat(64)}` as const }
    const reading = await createImageReader(store, {}).read(registry.image('orders'), [other])
    expect(reading.result).toMatchObject({ scan: 'failed', files: [] })
    expect(fetches(layer)).toBe(2)
  })
})

describe('a content', () => {
  it('that is known is not parsed again', async () => {
    const parsed: ExtractionRecord[][] = []
    const watched: Store = {
      ...store,
      putLayer(layer, contents, extractions) {
        parsed.push([...extractions])
        return store.putLayer(layer, contents, extractions)
      }
    }
    const layers = await layersOf(
      buildLayer([packageJson('a/package.json', 'same')]),
      buildLayer([packageJson('b/package.json', 'same'), packageJson('c/package.json', 'other')])
    )
    const reader = createImageReader(watched, {})
    // One after the other, as those of different images come.
    for (const layer of layers) await reader.read(registry.image('orders'), [layer])
    const names = parsed.map((records) => records.flatMap(({ packages }) => packages.map(({ name }) => name)))
    expect(names).toEqual([['same'], ['other']])
    const reading = await reader.read(registry.image('orders'), layers)
    expect(reading.extractions.flatMap(({ packages }) => packages.map(({ name }) => name)).sort()).toEqual([
      'other',
      'same'
    ])
  })

  it('that cannot be parsed is kept and served, and makes the scan partial', async () => {
    const reading = await readAll([
      buildLayer([{ path: 'app/package.json', content: '{"name":' }, packageJson('good/package.json', 'good')])
    ])
    expect(reading.result.scan).toBe('partial')
    expect(reading.result.scanError).toMatch(/^app\/package\.json: /)
    expect(shown(reading)).toEqual(['app/package.json', 'good/package.json'])
    expect(await contentOf(reading.result.files[0])).toBe('{"name":')
  })

  it('that cannot be parsed does no harm where a higher layer has replaced it', async () => {
    const broken = buildLayer([{ path: 'app/package.json', content: '{"name":' }])
    const reading = await readAll([broken, buildLayer([packageJson('app/package.json', 'good')])])
    expect(reading.result).toMatchObject({ scan: 'complete', scanError: null })
  })
})

describe('a layer that is not what it should be', () => {
  const good = buildLayer([packageJson('good/package.json', 'good')])
  const bad = buildLayer([packageJson('bad/package.json', 'bad'), { path: 'filler', content: 'x'.repeat(5_000) }], {
    compression: 'none'
  })

  it.each([
    ['damaged', damage(), /digest|not sha256/],
    ['cut short', truncateTo(600), /bytes/]
  ])('since it was %s on its way is fetched once more', async (_, misbehaviour) => {
    fake.misbehave(when(blobOf(bad), times(1, misbehaviour)))
    const reading = await readAll([good, bad])
    expect(reading.result).toMatchObject({ scan: 'complete', scanError: null })
    expect(fetches(bad)).toBe(2)
  })

  it.each([
    ['damaged', damage(), /are not sha256:/],
    ['cut short', truncateTo(600), /bytes/]
  ])('since it is %s is left out after two tries, and nothing of it is kept', async (_, misbehaviour, reason) => {
    fake.misbehave(when(blobOf(bad), misbehaviour))
    const reading = await readAll([good, bad])
    expect(fetches(bad)).toBe(2)
    expect(reading.result.scan).toBe('partial')
    expect(reading.result.scanError).toMatch(reason)
    expect(reading.result.scanError).toContain(`layer ${bad.digest}: `)
    expect(shown(reading)).toEqual(['good/package.json'])
    expect(reading.layers.map((layer) => layer?.digest ?? null)).toEqual([good.digest, null])
    expect(await store.layer(bad.digest)).toBeNull()
    expect(await contentOf({ layer: bad.digest, path: 'bad/package.json' })).toBeNull()
    expect(await store.extractions(reading.layers[0]?.files.map(({ content }) => content) ?? [])).toHaveLength(1)
  })

  it('is fetched once where another try would find the same', async () => {
    const reading = await readAll([good, bad], { uncompressedBytes: 4_000 })
    expect(reading.result.scan).toBe('partial')
    expect(reading.result.scanError).toMatch(/more than 4000 bytes/)
    expect(fetches(bad)).toBe(1)
  })

  it('leaves nothing readable where it is the only one', async () => {
    const reading = await readAll([bad], { uncompressedBytes: 4_000 })
    expect(reading.result).toMatchObject({ scan: 'failed', files: [] })
  })

  it('that the registry lacks is left out', async () => {
    fake.misbehave(when(blobOf(bad), refuse(404)))
    expect((await readAll([good, bad])).result).toMatchObject({
      scan: 'partial',
      files: [{ path: 'good/package.json' }]
    })
  })

  it('is one of several reasons, of which the first are spelled out', async () => {
    const files = Array.from({ length: 5 }, (_, index) => ({ path: `${index}/package.json`, content: `{${index}` }))
    const reading = await readAll([buildLayer(files)])
    expect(reading.problems).toHaveLength(5)
    expect(reading.result.scanError).toMatch(
      /^0\/package\.json: .*; 1\/package\.json: .*; 2\/package\.json: .*; and 2 more$/
    )
  })
})

it('layers that are beyond a limit together fail with the reason', async () => {
  const layer = buildLayer([packageJson('a/b/c/package.json', 'a')])
  const { result } = await readAll([layer], { nodes: 2 })
  expect(result).toEqual({ scan: 'failed', scanError: expect.stringMatching(/2/), files: [] })
  expect((await readAll([layer])).result.scan).toBe('complete')
})

describe('a registry that is away', () => {
  const layers = [1, 2, 3].map((n) => buildLayer([packageJson(`${n}/package.json`, `of-${n}`)]))

  it.each([
    ['answers 503', refuse(503), 'unavailable'],
    ['asks to slow down', refuse(429, { 'retry-after': '3600' }), 'throttled'],
    ['cuts the connection', cutAfter(10), 'unavailable'],
    ['lets nobody in', refuse(401), 'unauthorized']
  ])('since it %s ends the reading, and what was read stays', async (_, misbehaviour, code) => {
    const last = layers[2] as BuiltLayer
    const restore = fake.misbehave(when(blobOf(last), misbehaviour))
    await expect(readAll(layers)).rejects.toMatchObject({ code })
    restore()
    const reading = await readAll(layers)
    expect(reading.result.scan).toBe('complete')
    // The others were kept, unless they were broken off as they were read.
    expect(reading.fetched).toBeLessThanOrEqual(3)
    expect(reading.fetched).toBeGreaterThanOrEqual(1)
  })

  it('ends the reading only once the other layers have ended, too', async () => {
    const [first, second] = layers as [BuiltLayer, BuiltLayer]
    const order: string[] = []
    const isKeeping = Promise.withResolvers<void>()
    const slow: Store = {
      ...store,
      async putLayer(...given) {
        isKeeping.resolve()
        await new Promise((resolve) => setTimeout(resolve, 100))
        await store.putLayer(...given)
        order.push('the other layer was kept')
      }
    }
    fake.misbehave(
      when(blobOf(second), async (request, answer) => {
        await isKeeping.promise
        return refuse(503)(request, answer)
      })
    )
    const descriptors = await layersOf(first, second)
    const reading = createImageReader(slow, {}).read(registry.image('orders'), descriptors)
    await expect(reading).rejects.toMatchObject({ code: 'unavailable' })
    order.push('the reading ended')
    expect(order).toEqual(['the other layer was kept', 'the reading ended'])
  })
})

describe('a signal', () => {
  it('breaks the reading off with its reason', async () => {
    const layer = buildLayer([packageJson('a/package.json', 'a')])
    const stop = new AbortController()
    fake.misbehave(
      when(blobOf(layer), (request, answer) => {
        stop.abort(new Error('stopping'))
        return stallAfter(1)(request, answer)
      })
    )
    await expect(readAll([layer], {}, stop.signal)).rejects.toThrow('stopping')
    expect(await store.layer(layer.digest)).toBeNull()
  })
})

it('progress is told for each layer that is fetched', async () => {
  const layers = [buildLayer([packageJson('a/package.json', 'a')]), buildLayer([packageJson('b/package.json', 'b')])]
  const descriptors = await layersOf(...layers)
  const read = new Map<string, number>()
  await createImageReader(store, {}).read(registry.image('orders'), descriptors, undefined, ({ digest }, bytes) =>
    read.set(digest, bytes)
  )
  expect(Object.fromEntries(read)).toEqual(Object.fromEntries(layers.map(({ digest, size }) => [digest, size])))
})
