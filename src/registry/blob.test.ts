import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../src/domain/digest.ts'
import {
  type FakeRegistry,
  type Misbehaviour,
  type StoredDescriptor,
  startRegistry
} from '../../test/fakes/registry.ts'
import {
  cutAfter,
  damage,
  endless,
  ignoreRange,
  refuse,
  setHeader,
  stallAfter,
  times,
  truncateTo,
  truncateUntold,
  when
} from '../../test/fakes/registry-misbehaviour.ts'
import { createRegistry, type Registry, type RegistryOptions } from './client.ts'
import { RegistryError } from './errors.ts'
import { readBlob } from './image-source.ts'

let fake: FakeRegistry
let clients: Registry[]
let content: Buffer
let descriptor: StoredDescriptor

beforeEach(async () => {
  fake = await startRegistry()
  clients = []
  content = randomBytes(300_000)
  descriptor = fake.putBlob('service', content, 'application/vnd.oci.image.layer.v1.tar+gzip')
})

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()))
  await fake.close()
})

function source(options: Partial<RegistryOptions> = {}) {
  const clock = { now: () => 0, sleep: async () => {} }
  const created = createRegistry({ url: fake.url, clock, ...options })
  clients.push(created)
  return created.image('service')
}

async function read(blob: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(blob))
}

/** Compared here: a matcher takes a second to look at so many bytes. */
function isWhole(bytes: Uint8Array): boolean {
  return content.equals(bytes)
}

function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'none',
    (error) => (error instanceof RegistryError ? error.code : error)
  )
}

function ranges(): (string | undefined)[] {
  return fake.requests.map(({ headers }) => headers.range)
}

describe('a blob', () => {
  it('is streamed, and asked for by its own media type', async () => {
    expect(isWhole(await read(source().blob(descriptor)))).toBe(true)
    expect(fake.requests[0]?.headers.accept).toBe('application/vnd.oci.image.layer.v1.tar+gzip, */*')
    expect(fake.requests[0]?.headers['accept-encoding']).toBe('identity')
  })

  it('without bytes is asked for all the same', async () => {
    const empty = fake.putBlob('service', '')
    expect(await read(source().blob(empty))).toEqual(Buffer.alloc(0))
    expect(await codeOf(read(source().blob({ ...empty, digest: digestOf('x') })))).toBe('not-found')
  })

  it('that is not there is named in the error', async () => {
    const digest = digestOf('not there')
    await expect(read(source().blob({ ...descriptor, digest }))).rejects.toMatchObject({
      code: 'not-found',
      message: `${fake.host}/service@${digest} was not found (status 404, BLOB_UNKNOWN)`
    })
  })

  it('above the limit is refused before it is asked for', async () => {
    expect(await codeOf(read(source({ limits: { blobBytes: 299_999 } }).blob(descriptor)))).toBe('too-large')
    expect(fake.requests).toEqual([])
  })

  it('is not verified: that is for those who store it', async () => {
    fake.misbehave(damage())
    expect(isWhole(await read(source().blob(descriptor)))).toBe(false)
  })
})

describe('a blob whose connection is cut', () => {
  it('is taken up where it ended', async () => {
    fake.misbehave(times(1, cutAfter(100_000)))
    expect(isWhole(await read(source().blob(descriptor)))).toBe(true)
    expect(ranges()).toEqual([undefined, 'bytes=100000-'])
  })

  it('is taken up by skipping where the server ignores Range', async () => {
    fake.misbehave(ignoreRange(), times(1, cutAfter(100_000)))
    expect(isWhole(await read(source().blob(descriptor)))).toBe(true)
    expect(ranges()).toEqual([undefined, 'bytes=100000-'])
  })

  it('is taken up by skipping where the server refuses Range', async () => {
    fake.misbehave(when({ header: 'range' }, refuse(416)), times(2, cutAfter(100_000)))
    expect(isWhole(await read(source().blob(descriptor)))).toBe(true)
    expect(ranges()).toEqual([undefined, 'bytes=100000-', undefined, undefined])
  })

  it('is taken up where the part begins earlier than asked', async () => {
    const earlier: Misbehaviour = (request, answer) =>
      answer({ ...request, headers: { ...request.headers, range: 'bytes=99990-' } })
    fake.misbehave(when({ header: 'range' }, earlier), times(1, cutAfter(100_000)))
    expect(isWhole(await read(source().blob(descriptor)))).toBe(true)
  })

  it.each([
    ['begins too late', 'bytes 100001-299999/300000', 'invalid'],
    ['does not say where it begins', 'bytes', 'invalid'],
    ['is of something longer', 'bytes 100000-299999/300001', 'digest-mismatch']
  ])('is not taken up with a part that %s', async (_what, range, code) => {
    const end = fake.misbehave(
      when({ header: 'range' }, setHeader('content-range', range)),
      times(1, cutAfter(100_000))
    )
    const one = source({ limits: { connections: 1, idleMs: 1_000, attempts: 2 } })
    expect(await codeOf(read(one.blob(descriptor)))).toBe(code)
    end()
    // The connection whose answer was not read is free again.
    expect(isWhole(await read(one.blob(descriptor)))).toBe(true)
  })

  it('is given up after several tries in a row without a byte', async () => {
    fake.misbehave(cutAfter(0))
    expect(await codeOf(read(source().blob(descriptor)))).toBe('unavailable')
    expect(fake.requests).toHaveLength(4)
  })

  it('is taken up again and again while bytes come, but not for ever', async () => {
    const end = fake.misbehave(cutAfter(40_000))
    expect(isWhole(await read(source().blob(descriptor)))).toBe(true)
    expect(fake.requests).toHaveLength(8)
    end()
    fake.misbehave(cutAfter(1))
    expect(await codeOf(read(source({ limits: { resumes: 10 } }).blob(descriptor)))).toBe('unavailable')
    expect(fake.requests).toHaveLength(8 + 11)
  })

  it('is whole, however often and wherever it is cut, with and without Range', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 300_000 }), { maxLength: 3 }),
        fc.boolean(),
        async (cuts, hasRanges) => {
          const cutting = cuts.map((bytes) => times(1, cutAfter(bytes)))
          const end = fake.misbehave(...(hasRanges ? [] : [ignoreRange()]), ...cutting)
          const hash = createHash('sha256')
          for await (const chunk of source().blob(descriptor)) hash.update(chunk)
          end()
          expect(`sha256:${hash.digest('hex')}` as Digest).toBe(descriptor.digest)
        }
      ),
      { numRuns: 25 }
    )
  })

  it('is taken up after silence, too', async () => {
    fake.misbehave(times(1, stallAfter(100_000)))
    expect(isWhole(await read(source({ limits: { idleMs: 50 } }).blob(descriptor)))).toBe(true)
    expect(ranges()).toEqual([undefined, 'bytes=100000-'])
  })
})

describe('a blob of another length than its descriptor’s', () => {
  it('ends at once where the server tells its length', async () => {
    fake.misbehave(truncateTo(100_000))
    expect(await codeOf(read(source().blob(descriptor)))).toBe('digest-mismatch')
    expect(fake.requests).toHaveLength(1)
  })

  it('ends once nothing more comes', async () => {
    fake.misbehave(truncateUntold(100_000), ignoreRange())
    expect(await codeOf(read(source().blob(descriptor)))).toBe('digest-mismatch')
    expect(fake.requests).toHaveLength(2)
  })

  it('ends where it should, however much comes', async () => {
    fake.misbehave(endless())
    let length = 0
    const reading = (async () => {
      for await (const chunk of source().blob(descriptor)) length += chunk.length
    })()
    expect(await codeOf(reading)).toBe('digest-mismatch')
    expect(length).toBeLessThanOrEqual(descriptor.size)
  })
})

describe('a blob that takes too long', () => {
  it('is given up, without another try', async () => {
    fake.misbehave(stallAfter(1_000))
    expect(await codeOf(read(source({ limits: { blobMs: 100 } }).blob(descriptor)))).toBe('timeout')
    expect(fake.requests).toHaveLength(1)
  })

  it('is given up with the reason of the signal', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    fake.misbehave(stallAfter(1_000))
    const reading = (async () => {
      for await (const _ of source().blob(descriptor, controller.signal)) controller.abort(reason)
    })()
    expect(await codeOf(reading)).toBe(reason)
  })

  it('ends its transfer where the reader leaves', async () => {
    const closed = Promise.withResolvers<void>()
    fake.misbehave((request, answer) => {
      request.closed.addEventListener('abort', () => closed.resolve())
      return endless()(request, answer)
    })
    for await (const _ of source().blob(descriptor)) break
    await closed.promise
  })
})

describe('a small blob as a whole', () => {
  it('is verified', async () => {
    expect(isWhole(await readBlob(source(), descriptor, 300_000))).toBe(true)
    fake.misbehave(damage())
    expect(await codeOf(readBlob(source(), descriptor, 300_000))).toBe('digest-mismatch')
  })

  it('above its limit is refused before it is asked for', async () => {
    expect(await codeOf(readBlob(source(), descriptor, 299_999))).toBe('too-large')
    expect(fake.requests).toEqual([])
  })

  it.each([299_999, 300_001, Number.POSITIVE_INFINITY])('is no longer than it should be: %d', async (length) => {
    const blob = async function* () {
      for (let sent = 0; sent < length; sent += 299_999) yield randomBytes(Math.min(299_999, length - sent))
    }
    const careless = { description: 'careless', manifest: () => Promise.reject(new Error('not asked')), blob }
    expect(await codeOf(readBlob(careless, descriptor, 300_000))).toBe('digest-mismatch')
  })
})
