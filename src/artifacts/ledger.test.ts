import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digest, image, task } from '../../test/contract/records.ts'
import { soaked } from '../../test/soak.ts'
import type { ArtifactRecord, Store, Transaction, Work } from '../store/port.ts'
import { createSqliteStore } from '../store/sqlite/sqlite.ts'
import {
  isTagDeleted,
  type ResolvedTag,
  recordDelete,
  recordPlaceholder,
  recordPush,
  recordResolved,
  recordScanned
} from './artifacts.ts'

const NOON = Date.UTC(2026, 2, 2, 12)

type Step = (tx: Transaction) => Work<void>

let store: Store
beforeEach(() => {
  store = createSqliteStore(':memory:')
})
afterEach(() => store.close())

async function play(on: Store, ...steps: readonly Step[]): Promise<void> {
  for (const step of steps) await on.transact(step)
}
const take = (...steps: readonly Step[]) => play(store, ...steps)

const pushed =
  (at: number, tag = '1.0.0'): Step =>
  (tx) =>
    recordPush(tx, { repository: 'orders', tag, at, digestHint: null, requestedAt: at })
const deleted =
  (at: number, tag = '1.0.0'): Step =>
  (tx) =>
    recordDelete(tx, { repository: 'orders', tag, at })
const imageOf = (n: number) => image({ manifestDigest: digest(n), configDigest: digest(n + 100) })
/** The registry says that the tag names the image `n`, in an index. */
function resolved(at: number, n = 1, given: Partial<ResolvedTag> = {}): Step {
  const all: ResolvedTag = {
    repository: 'orders',
    tag: '1.0.0',
    resolvedAt: at,
    digest: digest(n + 200),
    digests: [digest(n + 200), digest(n)],
    service: 'orders',
    gitUrl: null,
    isWitness: false,
    ...given
  }
  return (tx) => recordResolved(tx, all, imageOf(n))
}
const placeholder =
  (at: number, service = 'orders'): Step =>
  (tx) =>
    recordPlaceholder(tx, { service, gitUrl: 'https://git.example', at })

const known = (tag = '1.0.0') => store.artifact('orders', tag)

describe('of push and delete', () => {
  it.each([
    ['the delete where it came later', [pushed(NOON), deleted(NOON + 1)], NOON + 1],
    ['the push where it came later', [deleted(NOON), pushed(NOON + 1)], null],
    ['the push where both came at once', [pushed(NOON), deleted(NOON)], null],
    ['the last of several', [pushed(NOON), deleted(NOON + 1), pushed(NOON + 2), deleted(NOON + 3)], NOON + 3],
    ['the last of several, a push', [deleted(NOON + 3), pushed(NOON + 4), deleted(NOON + 1)], null]
  ])('wins %s, whether the image is known before or after', async (_, steps, deletedAt) => {
    for (const order of [steps, steps.toReversed()]) {
      for (const all of [
        [resolved(NOON), ...order],
        [...order, resolved(NOON)]
      ]) {
        const other = createSqliteStore(':memory:')
        await play(other, ...all)
        expect((await other.artifact('orders', '1.0.0'))?.deletedAt).toBe(deletedAt)
        expect(await other.transact((tx) => isTagDeleted(tx, 'orders', '1.0.0'))).toBe(deletedAt !== null)
        await other.close()
      }
    }
  })

  it('neither is said of a tag that nobody spoke of, and of no other tag', async () => {
    await take(resolved(NOON), deleted(NOON, '2.0.0'))
    expect(await known()).toMatchObject({ deletedAt: null })
    expect(await store.transact((tx) => isTagDeleted(tx, 'orders', '1.0.0'))).toBe(false)
    expect(await known('2.0.0')).toBeNull()
  })

  it('a push asks for a scan, a delete for none', async () => {
    await take(deleted(NOON), pushed(NOON, '2.0.0'))
    expect((await store.scanJobs(undefined, { offset: 0, limit: 9 })).rows).toMatchObject([
      { tag: '2.0.0', causes: ['push'] }
    ])
  })
})

describe('an artifact that was deleted', () => {
  it('leaves the lists, and still names the tasks that run it', async () => {
    await take(resolved(NOON), (tx) =>
      tx.putTask(task({ service: null, version: null, deployment: null, tag: '1.0.0' }))
    )
    await take(resolved(NOON + 1), deleted(NOON + 2))
    expect(await store.artifacts()).toEqual([])
    expect(await store.deployableImages()).toEqual([])
    expect(await known()).toMatchObject({ deletedAt: NOON + 2, service: 'orders' })
    const [live] = await store.transact((tx) => tx.liveTasks('dev', 'orders'))
    expect(live).toMatchObject({ service: 'orders', version: '1.0.0' })
  })

  it('comes back when somebody looks on purpose and finds it, not by the scan that its push asked for', async () => {
    await take(pushed(NOON), resolved(NOON + 5), deleted(NOON + 1))
    expect((await known())?.deletedAt).toBe(NOON + 1)
    await take(resolved(NOON + 6))
    expect((await known())?.deletedAt).toBe(NOON + 1)
    await take(resolved(NOON + 7, 1, { isWitness: true }))
    expect((await known())?.deletedAt).toBeNull()
    // A delete after that look counts again.
    await take(deleted(NOON + 8))
    expect((await known())?.deletedAt).toBe(NOON + 8)
  })
})

describe('what a tag names', () => {
  it('is what the registry said last, in whatever order its words come', async () => {
    await take(resolved(NOON + 2, 2), resolved(NOON + 1, 1))
    expect(await known()).toMatchObject({
      digest: digest(202),
      manifestDigest: digest(2),
      configDigest: digest(102),
      resolvedAt: NOON + 2
    })
    // The older word is history all the same: by the index's digest and by the manifest's.
    for (const one of [digest(1), digest(201), digest(2), digest(202)]) {
      expect(await store.transact((tx) => tx.revisionsOfDigest('orders', one))).toMatchObject([
        { tag: '1.0.0', service: 'orders' }
      ])
    }
  })

  it('was first scanned when it was first scanned: again changes that for another image only', async () => {
    await take(resolved(NOON), resolved(NOON + 5))
    expect(await known()).toMatchObject({ createdAt: NOON, resolvedAt: NOON + 5 })
    await take(resolved(NOON + 9, 2))
    expect(await known()).toMatchObject({ createdAt: NOON + 9 })
  })

  it('is known as far as its image was read, under each of its tags', async () => {
    await take(resolved(NOON), resolved(NOON, 1, { tag: '1.0.1' }), resolved(NOON, 2, { tag: '2.0.0' }))
    await take((tx) => recordScanned(tx, { ...imageOf(1), scan: 'partial', scanError: 'why', scannerVersion: 7 }))
    for (const tag of ['1.0.0', '1.0.1']) {
      expect(await known(tag)).toMatchObject({ scan: 'partial', scanError: 'why', scannerVersion: 7 })
    }
    expect(await known('2.0.0')).toMatchObject({ scan: 'complete', scanError: null, scannerVersion: 1 })
    expect(await store.image(digest(1))).toMatchObject({ scan: 'partial' })
  })
})

describe('a placeholder', () => {
  it('stands for a service that has no image yet', async () => {
    await take(placeholder(NOON))
    expect(await known('0.0.0')).toEqual({
      repository: 'orders',
      tag: '0.0.0',
      digest: null,
      manifestDigest: null,
      configDigest: null,
      service: 'orders',
      gitUrl: 'https://git.example',
      createdAt: NOON,
      resolvedAt: NOON,
      deletedAt: null,
      placeholder: true,
      scan: 'complete',
      scanError: null,
      scannerVersion: 0
    } satisfies ArtifactRecord)
    expect(await store.deployableImages()).toEqual(['orders'])
  })

  it('is made once', async () => {
    await take(placeholder(NOON), placeholder(NOON + 5))
    expect(await known('0.0.0')).toMatchObject({ createdAt: NOON, resolvedAt: NOON })
  })

  it('gives way to an image of its tag, even to one that was found before, and never takes its place', async () => {
    const real = resolved(NOON - 5, 1, { tag: '0.0.0' })
    for (const steps of [
      [placeholder(NOON), real],
      [real, placeholder(NOON)]
    ]) {
      const other = createSqliteStore(':memory:')
      await play(other, ...steps)
      expect(await other.artifact('orders', '0.0.0')).toMatchObject({ placeholder: false, digest: digest(201) })
      await other.close()
    }
  })

  it('that was deleted comes back when it is asked for again', async () => {
    await take(placeholder(NOON), deleted(NOON + 1, '0.0.0'))
    expect(await store.deployableImages()).toEqual([])
    await take(placeholder(NOON + 2))
    expect(await known('0.0.0')).toMatchObject({ deletedAt: null, createdAt: NOON })
  })
})

describe('any order of the same events and answers', () => {
  const at = fc.nat(6).map((n) => NOON + n * 1_000)
  const tag = fc.constantFrom('1.0.0', '2.0.0')
  const events = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('push' as const), at, tag }),
      fc.record({ kind: fc.constant('delete' as const), at, tag })
    ),
    { maxLength: 6 }
  )
  // The registry answers each question at a time of its own.
  const answers = fc.uniqueArray(
    fc.record({ kind: fc.constant('answer' as const), at, tag, n: fc.constantFrom(1, 2, 3), isWitness: fc.boolean() }),
    { maxLength: 4, selector: (answer) => answer.at }
  )
  type Told = typeof events extends fc.Arbitrary<infer E> ? E : never
  type Answered = typeof answers extends fc.Arbitrary<infer A> ? A : never

  const toStep = (one: Told[number] | Answered[number]): Step => {
    if (one.kind === 'push') return pushed(one.at, one.tag)
    if (one.kind === 'delete') return deleted(one.at, one.tag)
    return resolved(one.at, one.n, { tag: one.tag, isWitness: one.isWitness })
  }

  async function outcome(steps: readonly Step[]) {
    const on = createSqliteStore(':memory:')
    await play(on, ...steps)
    const tags = ['1.0.0', '2.0.0']
    const state = {
      artifacts: (await Promise.all(tags.map((one) => on.artifact('orders', one)))).map((artifact) =>
        artifact === null ? null : { ...artifact, createdAt: undefined }
      ),
      tags: await Promise.all(tags.map((one) => on.transact((tx) => tx.tag('orders', one)))),
      listed: (await on.artifacts()).map((artifact) => artifact.tag)
    }
    await on.close()
    return state
  }

  it('ends in the same artifacts, however often each comes [soak]', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(events, answers).chain(([told, answered]) => {
          const all = [...told, ...answered]
          const indices = all.map((_, index) => index)
          return fc.record({
            all: fc.constant(all),
            order: fc.shuffledSubarray([...indices, ...indices], { minLength: indices.length * 2 })
          })
        }),
        async ({ all, order }) => {
          const shuffled = order.flatMap((index) => all[index] ?? [])
          expect(await outcome(shuffled.map(toStep))).toEqual(await outcome(all.map(toStep)))
        }
      ),
      soaked('artifacts', 150)
    )
  })
})
