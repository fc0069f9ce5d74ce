import { Writable } from 'node:stream'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createEnvironments } from '../domain/environment.ts'
import { type Store, StoreError, type Transaction } from '../store/port.ts'
import { createSqliteStore } from '../store/sqlite/sqlite.ts'
import type { QueueMessage } from './envelope.ts'
import { createInbox, type Inbox } from './inbox.ts'
import { deploymentRequested, placeholderRequested } from './portal-events.ts'
import type { ReadMessage } from './read-event.ts'

const SENT = Date.UTC(2026, 2, 2, 12)
const NOW = SENT + 5_000
const ALL = { offset: 0, limit: 100 }
const options = { environments: createEnvironments([['333333333', 'dev']]), containersToIgnore: [] }

let store: Store
let committed: ReadMessage[][]
let lines: { level: number; msg: string; reason?: string }[]
beforeEach(() => {
  store = createSqliteStore(':memory:')
  committed = []
  lines = []
})
afterEach(() => store.close())

function inboxOn(of: Store): Inbox {
  const log = pino(
    new Writable({
      write(chunk, _, done) {
        lines.push(JSON.parse(String(chunk)))
        done()
      }
    })
  )
  return createInbox({ store: of, log, now: () => NOW, onCommitted: (read) => committed.push([...read]) }, options)
}

const message = (id: string, body: object | string): QueueMessage => ({
  messageId: id,
  sentAt: SENT,
  body: typeof body === 'string' ? body : JSON.stringify(body)
})
const push = (id: string, tag = '1.0.0') =>
  message(id, {
    id,
    source: 'aws.ecr',
    detail: { result: 'SUCCESS', 'action-type': 'PUSH', 'repository-name': 'orders', 'image-tag': tag }
  })

/** The store, with something else for its transactions. */
function storeWith(change: (tx: Transaction) => Transaction): Store {
  return { ...store, transact: (work) => store.transact((tx) => work(change(tx))) }
}

describe('a message', () => {
  it('is kept as it came, with what follows from it', async () => {
    const one = push('a')
    expect(await inboxOn(store).receive('ecr', [one])).toEqual(['done'])
    const { rows } = await store.events({}, ALL)
    expect(rows).toMatchObject([
      {
        channel: 'ecr',
        source: 'aws.ecr',
        eventId: 'a',
        messageId: 'a',
        time: SENT,
        sentAt: SENT,
        receivedAt: NOW,
        body: one.body,
        outcome: 'done',
        reason: null
      }
    ])
    expect((await store.countScanJobs()).queued).toBe(1)
  })

  it('that comes again is counted, and applied once', async () => {
    const inbox = inboxOn(store)
    const counting = { applied: 0 }
    const watched = inboxOn(
      storeWith((tx) => ({
        ...tx,
        addScanJob(job) {
          counting.applied += 1
          return tx.addScanJob(job)
        }
      }))
    )
    expect(await watched.receive('ecr', [push('a'), push('a')])).toEqual(['done', 'done'])
    expect(await watched.receive('ecr', [push('a')])).toEqual(['done'])
    expect(await inbox.receive('ecs', [push('a')])).toEqual(['done'])
    expect(counting.applied).toBe(1)
    expect((await store.events({}, ALL)).rows).toMatchObject([{ duplicates: 3 }])
  })

  it('that is none of our business or can never succeed is kept with its reason, and done', async () => {
    const outcomes = await inboxOn(store).receive('ecr', [push('a', 'latest'), message('b', '{')])
    expect(outcomes).toEqual(['done', 'done'])
    expect((await store.eventsAfter(0, 10)).map(({ outcome, reason, body }) => [outcome, reason, body])).toEqual([
      ['ignored', 'the tag latest is no release version', push('a', 'latest').body],
      ['rejected', expect.stringMatching(/^not JSON: /), '{']
    ])
    // Only what somebody should look at is logged, without its body.
    expect(lines.map(({ msg, reason }) => [msg, reason])).toEqual([
      ['event rejected', expect.stringMatching(/^not JSON: /)]
    ])
    expect(JSON.stringify(lines)).not.toContain('image-tag')
  })

  it('is told of after its commit', async () => {
    await inboxOn(store).receive('ecr', [push('a'), message('b', '{')])
    expect(committed.map((read) => read.map(({ reading }) => reading.outcome))).toEqual([['done', 'rejected']])
  })
})

describe('a failure', () => {
  it('of one message leaves it on its queue, with nothing of it kept, and the others are kept', async () => {
    const picky = storeWith((tx) => ({
      ...tx,
      *addScanJob(job) {
        // After its event was written.
        if (job.tag === '2.0.0') throw new Error('poison')
        return yield* tx.addScanJob(job)
      }
    }))
    const outcomes = await inboxOn(picky).receive('ecr', [push('a'), push('b', '2.0.0'), push('c', '3.0.0')])
    expect(outcomes).toEqual(['done', 'retry', 'done'])
    expect((await store.eventsAfter(0, 10)).map(({ eventId }) => eventId)).toEqual(['a', 'c'])
    expect(committed.map((read) => read.map(({ event }) => event?.id))).toEqual([['a'], ['c']])
  })

  it.each(['unavailable', 'busy', 'full'] as const)(
    'of the store, %s, leaves all on the queue, after one try',
    async (code) => {
      let tries = 0
      const away: Store = {
        ...store,
        transact: () => {
          tries += 1
          return Promise.reject(new StoreError(code, 'no'))
        }
      }
      const messages = Array.from({ length: 10 }, (_, index) => push(`m-${index}`))
      expect(await inboxOn(away).receive('ecr', messages)).toEqual(messages.map(() => 'retry'))
      // Each try may wait for as long as the store's own patience.
      expect(tries).toBe(1)
      expect(committed).toEqual([])
      expect(lines).toHaveLength(1)
    }
  )
})

describe('an event of the service’s own', () => {
  const request = {
    deploymentId: 'p-1',
    environment: 'dev',
    requestedService: 'orders',
    version: '1.0.0',
    user: 'Ann',
    userId: 'u-1',
    instanceCount: 2,
    requestedAt: NOW
  }

  it('is logged, and answers what was read in its transaction', async () => {
    const answer = await inboxOn(store).submit(deploymentRequested(request), (tx) => tx.request('p-1'))
    expect(answer).toEqual({ ...request, service: 'orders', started: false })
    expect((await store.events({}, ALL)).rows).toMatchObject([
      { channel: 'portal', source: 'cdp.portal', detailType: 'Deployment Requested', outcome: 'done', time: NOW }
    ])
    expect(committed).toHaveLength(1)
  })

  it('that comes again changes nothing', async () => {
    const inbox = inboxOn(store)
    await inbox.submit(deploymentRequested(request), (tx) => tx.request('p-1'))
    const again = await inbox.submit(
      deploymentRequested({ ...request, version: '2.0.0', requestedAt: NOW + 1 }),
      (tx) => tx.request('p-1')
    )
    expect(again).toMatchObject({ version: '1.0.0', requestedAt: NOW })
  })

  it('makes a placeholder once', async () => {
    const inbox = inboxOn(store)
    for (const gitUrl of ['https://one.example', 'https://two.example']) {
      const placeholder = await inbox.submit(placeholderRequested('new-service', gitUrl, NOW), (tx) =>
        tx.artifact('new-service', '0.0.0')
      )
      expect(placeholder).toMatchObject({
        placeholder: true,
        service: 'new-service',
        gitUrl: 'https://one.example',
        createdAt: NOW
      })
    }
  })

  it('fails where the store does, and nothing is kept', async () => {
    const inbox = inboxOn(store)
    const failing = inbox.submit(deploymentRequested(request), () => {
      throw new StoreError('full', 'no')
    })
    await expect(failing).rejects.toMatchObject({ code: 'full' })
    expect((await store.events({}, ALL)).total).toBe(0)
    expect(await store.requestNamed('p-1')).toBeNull()
    expect(committed).toEqual([])
  })
})
