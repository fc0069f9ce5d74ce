import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { SQSClient } from '@aws-sdk/client-sqs'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type FakeSqs, sqsClient, startSqs } from '../../test/fakes/sqs.ts'
import { createEnvironments } from '../domain/environment.ts'
import { type Store, StoreError } from '../store/port.ts'
import { createSqliteStore } from '../store/sqlite/sqlite.ts'
import { createInbox, type Inbox } from './inbox.ts'
import {
  createQueueListener,
  type QueueListener,
  type QueueListenerOptions,
  retryDelaySeconds
} from './queue-listener.ts'

const log = pino({ level: 'silent' })
const readingOptions = { environments: createEnvironments([['333333333', 'dev']]), containersToIgnore: [] }
const ALL = { offset: 0, limit: 1_000 }

/** A stretch of the network between a client and the emulator, which can fail. */
interface Line {
  readonly endpoint: string
  /** `swallow`: takes connections and what is sent, and never answers. `cut`: ends connections at once. */
  become(state: 'good' | 'swallow' | 'cut'): void
  close(): Promise<void>
}

async function startLine(target: string): Promise<Line> {
  const { port: targetPort } = new URL(target)
  let state: 'good' | 'swallow' | 'cut' = 'good'
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    if (state === 'cut') socket.destroy()
    if (state !== 'good') return void socket.resume()
    const onward = connect(Number(targetPort), '127.0.0.1')
    onward.on('error', () => socket.destroy())
    onward.on('close', () => socket.destroy())
    socket.on('close', () => onward.destroy())
    socket.pipe(onward).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const hangUp = () => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  }
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    become(next) {
      state = next
      hangUp()
    },
    async close() {
      hangUp()
      server.close()
      await once(server, 'close')
    }
  }
}

let sqs: FakeSqs
beforeAll(async () => {
  sqs = await startSqs()
})
afterAll(() => sqs.close())

let queues = 0
let queueUrl: string
let line: Line
let client: SQSClient
let store: Store
const listeners: QueueListener[] = []
beforeEach(async () => {
  queueUrl = await sqs.createQueue(`queue-${queues++}`)
  line = await startLine(sqs.endpoint)
  client = sqsClient(line.endpoint)
  store = createSqliteStore(':memory:')
})
afterEach(async () => {
  await Promise.all(listeners.splice(0).map((listener) => listener.stop()))
  client.destroy()
  await line.close()
  await store.close()
})

const realInbox = (of: Store = store) =>
  createInbox({ store: of, log, now: Date.now, onCommitted: () => undefined }, readingOptions)

function listen(inbox: Inbox, options: Partial<QueueListenerOptions> = {}): QueueListener {
  const listener = createQueueListener(
    { sqs: client, inbox, log, now: Date.now },
    { channel: 'ecs', queueUrl, waitSeconds: 1, visibilitySeconds: 30, ...options }
  )
  listeners.push(listener)
  listener.start()
  return listener
}

/** An inbox that keeps everything, and remembers what came together. */
function recorder() {
  const batches: string[][] = []
  const inbox: Inbox = {
    receive: async (_, messages) => {
      batches.push(messages.map(({ body }) => body))
      return messages.map(() => 'done')
    },
    submit: () => Promise.reject(new Error('not here'))
  }
  return { inbox, batches }
}

const bodies = (count: number) =>
  Array.from({ length: count }, (_, index) => JSON.stringify({ id: `event-${index}`, detail: {} }))
const isEmpty = async () => expect(await sqs.depth(queueUrl)).toEqual({ waiting: 0, inFlight: 0 })
const eventually = <T>(check: () => T | Promise<T>) => vi.waitFor(check, { timeout: 15_000, interval: 20 })

/** The commands of a kind that the client sent. */
const sent = (spy: { mock: { calls: readonly (readonly unknown[])[] } }, name: string) =>
  spy.mock.calls
    .map(([command]) => command as { constructor: { name: string }; input: unknown })
    .filter((command) => command.constructor.name === name)

describe('a listener', () => {
  it('hands over ten messages together, and deletes them', async () => {
    await sqs.send(queueUrl, bodies(25))
    const { inbox, batches } = recorder()
    listen(inbox)
    await eventually(isEmpty)
    expect(batches.flat().sort()).toEqual(bodies(25).sort())
    expect(Math.max(...batches.map((batch) => batch.length))).toBe(10)
  })

  it('gives a message its id, its body and when it was sent', async () => {
    const before = Date.now()
    await sqs.send(queueUrl, ['not even JSON'])
    listen(realInbox())
    await eventually(isEmpty)
    const { rows } = await store.events({}, ALL)
    expect(rows).toMatchObject([{ body: 'not even JSON', outcome: 'rejected', messageId: expect.stringMatching(/\S/) }])
    expect(rows[0]?.sentAt).toBeGreaterThanOrEqual(before)
    expect(rows[0]?.sentAt).toBeLessThanOrEqual(Date.now())
  })

  it('deletes only what the store has committed; the rest is hidden for longer each time, and comes back', async () => {
    await sqs.send(queueUrl, bodies(3))
    const send = vi.spyOn(client, 'send')
    let isAway = true
    const away: Store = {
      ...store,
      transact: (work) => (isAway ? Promise.reject(new StoreError('unavailable', 'away')) : store.transact(work))
    }
    listen(realInbox(away), { firstRetryDelaySeconds: 1 })
    const delays = () =>
      sent(send, 'ChangeMessageVisibilityBatchCommand').map(({ input }) =>
        (input as { Entries: { VisibilityTimeout: number }[] }).Entries.map((entry) => entry.VisibilityTimeout)
      )
    await eventually(() => expect(delays().length).toBeGreaterThanOrEqual(2))
    expect(delays().slice(0, 2)).toEqual([
      [1, 1, 1],
      [2, 2, 2]
    ])
    expect(sent(send, 'DeleteMessageBatchCommand')).toEqual([])
    expect(await store.events({}, ALL)).toEqual({ rows: [], total: 0 })
    isAway = false
    await eventually(isEmpty)
    expect((await store.events({}, ALL)).total).toBe(3)
  })

  it('is not held up by one message that the store cannot keep', async () => {
    await sqs.send(queueUrl, bodies(10))
    const picky: Store = {
      ...store,
      transact: (work) =>
        store.transact(function* (tx) {
          return yield* work({
            ...tx,
            *appendEvent(event) {
              if (event.eventId === 'event-3') throw new Error('poison')
              return yield* tx.appendEvent(event)
            }
          })
        })
    }
    listen(realInbox(picky), { firstRetryDelaySeconds: 60 })
    await eventually(async () => expect(await sqs.depth(queueUrl)).toEqual({ waiting: 0, inFlight: 1 }))
    const kept = (await store.events({}, ALL)).rows.map(({ eventId }) => eventId).sort()
    expect(kept).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9].map((index) => `event-${index}`))
  })

  it('that is started twice polls once, and polls again after a stop', async () => {
    const send = vi.spyOn(client, 'send')
    const { inbox } = recorder()
    const listener = listen(inbox, { waitSeconds: 20 })
    listener.start()
    await eventually(() => expect(sent(send, 'ReceiveMessageCommand')).toHaveLength(1))
    await listener.stop()
    await listener.stop()
    expect(sent(send, 'ReceiveMessageCommand')).toHaveLength(1)
    listener.start()
    await sqs.send(queueUrl, bodies(1))
    await eventually(isEmpty)
  })
})

describe('how long a message is hidden', () => {
  it('doubles with each receive, from 5 seconds up to 15 minutes', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((count) => retryDelaySeconds(count))).toEqual([
      5, 10, 20, 40, 80, 160, 320, 640, 900, 900
    ])
  })

  it('stays within its bounds whatever SQS counted', () => {
    expect(retryDelaySeconds(0)).toBe(5)
    expect(retryDelaySeconds(-3)).toBe(5)
    expect(retryDelaySeconds(1_000_000)).toBe(900)
    expect(retryDelaySeconds(3, 1)).toBe(4)
  })
})

describe('a queue that does not answer', () => {
  it('to a receive gets another poller', async () => {
    line.become('swallow')
    const { inbox, batches } = recorder()
    const listener = listen(inbox, { callMs: 100, firstReceiveDelayMs: 10 })
    expect(listener.state()).toEqual({ ok: true, reason: null })
    await eventually(() => expect(listener.state()).toEqual({ ok: false, reason: 'SQS has not answered within 0.1 s' }))
    line.become('good')
    await sqs.send(queueUrl, bodies(3))
    await eventually(isEmpty)
    expect(batches.flat().sort()).toEqual(bodies(3))
    expect(listener.state()).toEqual({ ok: true, reason: null })
  })

  it('to a delete gets another poller, and the messages come again', async () => {
    await sqs.send(queueUrl, bodies(3))
    const batches: number[] = []
    const inbox: Inbox = {
      async receive(_, messages) {
        batches.push(messages.length)
        if (batches.length === 1) line.become('swallow')
        return messages.map(() => 'done')
      },
      submit: () => Promise.reject(new Error('not here'))
    }
    const listener = listen(inbox, { callMs: 300, firstReceiveDelayMs: 10, visibilitySeconds: 1 })
    await eventually(() => expect(listener.state().ok).toBe(false))
    line.become('good')
    await eventually(isEmpty)
    expect(batches).toEqual([3, 3])
  })

  it('while it is stopped does not hold the stop up for ever', async () => {
    await sqs.send(queueUrl, bodies(1))
    let isHandling = false
    const inbox: Inbox = {
      async receive(_, messages) {
        line.become('swallow')
        isHandling = true
        return messages.map(() => 'done')
      },
      submit: () => Promise.reject(new Error('not here'))
    }
    const listener = listen(inbox, { callMs: 200 })
    await eventually(() => expect(isHandling).toBe(true))
    await listener.stop()
  })
})

describe('a queue that is away', () => {
  it('is asked again until it is back', async () => {
    line.become('cut')
    const { inbox, batches } = recorder()
    const listener = listen(inbox, { firstReceiveDelayMs: 10 })
    await eventually(() => expect(listener.state().ok).toBe(false))
    expect(listener.state().reason).toMatch(/SQS receive message failed/)
    await sqs.send(queueUrl, bodies(2))
    line.become('good')
    await eventually(isEmpty)
    expect(batches.flat().sort()).toEqual(bodies(2))
    await eventually(() => expect(listener.state()).toEqual({ ok: true, reason: null }))
  })

  it('or does not exist is a fault that says so', async () => {
    const { inbox } = recorder()
    const listener = listen(inbox, { queueUrl: `${queueUrl}-none`, firstReceiveDelayMs: 10 })
    await eventually(() => expect(listener.state().reason).toMatch(/does not exist/))
  })

  it('does not hold a stop up, and is asked no more', async () => {
    line.become('cut')
    const send = vi.spyOn(client, 'send')
    const { inbox } = recorder()
    // Far longer than a test may take.
    const listener = listen(inbox, { firstReceiveDelayMs: 60_000 })
    await eventually(() => expect(listener.state().ok).toBe(false))
    await listener.stop()
    const asked = sent(send, 'ReceiveMessageCommand').length
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(sent(send, 'ReceiveMessageCommand').length).toBe(asked)
  })

  it('is not asked while it waits before another try, when it is stopped', async () => {
    line.become('cut')
    const { inbox, batches } = recorder()
    const listener = listen(inbox, { waitSeconds: 20, firstReceiveDelayMs: 300 })
    await eventually(() => expect(listener.state().ok).toBe(false))
    // Into the wait before the next receive, which begins where the poller's own ends.
    await new Promise((resolve) => setTimeout(resolve, 400))
    line.become('good')
    await listener.stop()
    await sqs.send(queueUrl, bodies(1))
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(batches).toEqual([])
    expect(await sqs.depth(queueUrl)).toEqual({ waiting: 1, inFlight: 0 })
  })
})

describe('a stop', () => {
  it('breaks off a receive that only waits, at once', async () => {
    const send = vi.spyOn(client, 'send')
    const { inbox } = recorder()
    const listener = listen(inbox, { waitSeconds: 20 })
    await eventually(() => expect(sent(send, 'ReceiveMessageCommand')).toHaveLength(1))
    // The test's own time would run out before the wait does.
    await listener.stop()
  }, 10_000)

  it('waits for the messages in hand, which are kept and deleted', async () => {
    await sqs.send(queueUrl, bodies(4))
    const held = Promise.withResolvers<void>()
    const inHand = Promise.withResolvers<void>()
    const real = realInbox()
    const slow: Inbox = {
      ...real,
      async receive(channel, messages) {
        inHand.resolve()
        await held.promise
        return real.receive(channel, messages)
      }
    }
    const listener = listen(slow)
    await inHand.promise
    let isStopped = false
    const stop = listener.stop().then(() => {
      isStopped = true
    })
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(isStopped).toBe(false)
    held.resolve()
    await stop
    await isEmpty()
    expect((await store.events({}, ALL)).total).toBe(4)
  })

  it('gives back the messages in hand that could not be kept', async () => {
    await sqs.send(queueUrl, bodies(2))
    const send = vi.spyOn(client, 'send')
    const inHand = Promise.withResolvers<void>()
    const held = Promise.withResolvers<void>()
    const inbox: Inbox = {
      async receive(_, messages) {
        inHand.resolve()
        await held.promise
        return messages.map(() => 'retry')
      },
      submit: () => Promise.reject(new Error('not here'))
    }
    const listener = listen(inbox)
    await inHand.promise
    const stop = listener.stop()
    held.resolve()
    await stop
    expect(sent(send, 'ChangeMessageVisibilityBatchCommand')).toHaveLength(1)
    expect(await sqs.depth(queueUrl)).toEqual({ waiting: 0, inFlight: 2 })
  })

  it('of one that never started is nothing', async () => {
    const { inbox } = recorder()
    const options = { channel: 'ecs' as const, queueUrl, waitSeconds: 1, visibilitySeconds: 30 }
    await createQueueListener({ sqs: client, inbox, log, now: Date.now }, options).stop()
  })
})
