/** The inbox: a message is kept, with what follows from it, in one transaction; only then may its queue forget it. */
import type { Logger } from 'pino'
import { type EventRecord, type Store, StoreError, type Transaction, type Work } from '../store/port.ts'
import type { Channel, QueueMessage } from './envelope.ts'
import { type ReadingOptions, type ReadMessage, readMessage } from './read-event.ts'

/** What became of a message: `done` may leave its queue; `retry` must stay there, since nothing of it was kept. */
export type MessageOutcome = 'done' | 'retry'

export interface Inbox {
  /**
   * Takes in messages, all in one transaction; where one of them makes that fail, each in one of its own, so that it does not
   * hold up the others.
   * @returns the outcome of each, in their order. Never throws: a store that is away makes every outcome `retry`.
   */
  receive(channel: 'ecs' | 'ecr', messages: readonly QueueMessage[]): Promise<readonly MessageOutcome[]>
  /** Takes in one event of the service's own, and answers what `result` reads in the same transaction. @throws StoreError */
  submit<T>(message: QueueMessage, result: (transaction: Transaction) => Work<T>): Promise<T>
}

export interface InboxDeps {
  readonly store: Store
  readonly log: Logger
  readonly now: () => number
  /** Told after a commit that took in at least one event. */
  readonly onCommitted: (read: readonly ReadMessage[]) => void
}

/** The record that the log keeps of a message. */
export function toEventRecord(
  channel: Channel,
  message: QueueMessage,
  read: ReadMessage,
  receivedAt: number
): EventRecord {
  const { event, reading } = read
  return {
    key: read.key,
    channel,
    source: event?.source ?? null,
    detailType: event?.detailType ?? null,
    account: event?.account ?? null,
    eventId: event?.id ?? null,
    time: event?.time ?? message.sentAt,
    sentAt: message.sentAt,
    receivedAt,
    messageId: message.messageId,
    body: message.body,
    outcome: reading.outcome,
    reason: reading.outcome === 'done' ? reading.note : reading.reason
  }
}

export function createInbox({ store, log, now, onCommitted }: InboxDeps, options: ReadingOptions): Inbox {
  function* keep(tx: Transaction, channel: Channel, message: QueueMessage, read: ReadMessage): Work<void> {
    const isNew = yield* tx.appendEvent(toEventRecord(channel, message, read, now()))
    if (isNew && read.reading.outcome === 'done') yield* read.reading.apply(tx)
  }

  async function keepAll(channel: Channel, messages: readonly (readonly [QueueMessage, ReadMessage])[]): Promise<void> {
    await store.transact(function* (tx) {
      for (const [message, read] of messages) yield* keep(tx, channel, message, read)
    })
    const read = messages.map(([, one]) => one)
    for (const { event, reading } of read) {
      if (reading.outcome === 'rejected')
        log.warn({ channel, eventId: event?.id, reason: reading.reason }, 'event rejected')
    }
    onCommitted(read)
  }

  return {
    async receive(channel, messages) {
      const read = messages.map((message) => [message, readMessage(channel, message, options)] as const)
      try {
        await keepAll(channel, read)
        return messages.map(() => 'done' as const)
      } catch (error) {
        if (error instanceof StoreError) {
          // It would fail each of them alike, and let each wait for its time to run out.
          log.error({ channel, messages: messages.length, err: error }, 'messages not kept; they stay on their queue')
          return messages.map(() => 'retry' as const)
        }
        if (messages.length > 1) log.warn({ channel, err: error }, 'a batch of messages failed; trying them one by one')
      }
      const outcomes: MessageOutcome[] = []
      for (const one of read) {
        try {
          await keepAll(channel, [one])
          outcomes.push('done')
        } catch (error) {
          log.error({ channel, messageId: one[0].messageId, err: error }, 'message not kept; it stays on its queue')
          outcomes.push('retry')
        }
      }
      return outcomes
    },

    async submit(message, result) {
      const read = readMessage('portal', message, options)
      const answer = await store.transact(function* (tx) {
        yield* keep(tx, 'portal', message, read)
        return yield* result(tx)
      })
      onCommitted([read])
      return answer
    }
  }
}
