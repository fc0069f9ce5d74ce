/** Listens to one SQS queue: long polls, hands batches to the inbox, deletes what is kept, gives the rest back. */
import { ChangeMessageVisibilityBatchCommand, type Message, type SQSClient } from '@aws-sdk/client-sqs'
import type { Logger } from 'pino'
import { Consumer } from 'sqs-consumer'
import type { QueueMessage } from './envelope.ts'
import type { Inbox } from './inbox.ts'

export interface QueueListener {
  start(): void
  /** Stops polling, waits until what is in hand is kept and deleted or given back. */
  stop(): Promise<void>
  /** Whether the last receive came back with an answer; the reason where it did not. */
  state(): { readonly ok: boolean; readonly reason: string | null }
}

export interface QueueListenerDeps {
  readonly sqs: SQSClient
  readonly inbox: Inbox
  readonly log: Logger
  readonly now: () => number
}

export interface QueueListenerOptions {
  readonly channel: 'ecs' | 'ecr'
  readonly queueUrl: string
  /** How long a receive waits for messages, in seconds; SQS allows 20 at most. */
  readonly waitSeconds: number
  /** How long a received message is hidden from others, in seconds. */
  readonly visibilitySeconds: number
  /** How long a call to SQS may take, a receive's wait left out, before its poller is given up, in milliseconds. */
  readonly callMs?: number
  /** The first delay after a receive that failed, in milliseconds; it doubles up to `MAX_RECEIVE_DELAY_MS`. */
  readonly firstReceiveDelayMs?: number
  /** The first delay of a message that was not kept, in seconds; it doubles up to `MAX_RETRY_DELAY_SECONDS`. */
  readonly firstRetryDelaySeconds?: number
}

/** SQS hands out ten messages at most, https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html */
const BATCH = 10
const CALL_MS = 30_000
const FIRST_RECEIVE_DELAY_MS = 1_000
const MAX_RECEIVE_DELAY_MS = 30_000
const FIRST_RETRY_DELAY_SECONDS = 5
/** Far below the twelve hours that SQS allows: an outage that ends should not leave messages hidden for long. */
const MAX_RETRY_DELAY_SECONDS = 900
const DRAIN_POLL_MS = 10
const MAX_WATCH_MS = 5_000

/** How long to hide a message that has been received so many times, in seconds: doubling, within a bound. */
export function retryDelaySeconds(receiveCount: number, first = FIRST_RETRY_DELAY_SECONDS): number {
  const doublings = Math.min(Math.max(receiveCount, 1) - 1, 16)
  return Math.min(first * 2 ** doublings, MAX_RETRY_DELAY_SECONDS)
}

function toQueueMessage(message: Message, now: number): QueueMessage {
  return {
    messageId: message.MessageId ?? '',
    body: message.Body ?? '',
    sentAt: Number(message.Attributes?.SentTimestamp ?? now)
  }
}

interface Poller {
  readonly consumer: Consumer
  /** Until when the call to SQS that is under way must be answered; null while none is. */
  answerDue: number | null
  /** From the moment that messages are in hand until the next receive: deleting them is part of it. */
  isHandling: boolean
  /** Ends the wait before the next receive. */
  endPause: (() => void) | null
}

export function createQueueListener(deps: QueueListenerDeps, options: QueueListenerOptions): QueueListener {
  const { sqs, inbox, now } = deps
  const { channel, queueUrl, waitSeconds, visibilitySeconds } = options
  const log = deps.log.child({ channel })
  const callMs = options.callMs ?? CALL_MS
  const firstReceiveDelayMs = options.firstReceiveDelayMs ?? FIRST_RECEIVE_DELAY_MS

  let current: Poller | null = null
  let failures = 0
  let fault: string | null = null
  let watchdog: NodeJS.Timeout | null = null

  async function handle(poller: Poller, messages: Message[]): Promise<Message[]> {
    poller.isHandling = true
    const outcomes = await inbox.receive(
      channel,
      messages.map((message) => toQueueMessage(message, now()))
    )
    const kept = messages.filter((_, index) => outcomes[index] === 'done')
    const left = messages.filter((_, index) => outcomes[index] === 'retry')
    if (left.length > 0) await giveBack(left)
    if (kept.length > 0) poller.answerDue = now() + callMs
    return kept
  }

  /** Leaves messages on the queue, each hidden for longer the more often it came. */
  async function giveBack(messages: readonly Message[]): Promise<void> {
    const Entries = messages.map((message, index) => ({
      Id: String(index),
      ReceiptHandle: message.ReceiptHandle,
      VisibilityTimeout: retryDelaySeconds(
        Number(message.Attributes?.ApproximateReceiveCount ?? 1),
        options.firstRetryDelaySeconds
      )
    }))
    const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl: queueUrl, Entries })
    try {
      await sqs.send(command, { abortSignal: AbortSignal.timeout(callMs) })
    } catch (error) {
      // They come back all the same, when the visibility that they were received with runs out.
      log.warn({ err: error }, 'the visibility of messages could not be changed')
    }
  }

  /** After a receive that failed, the next one waits: longer each time. */
  async function beforeReceive(poller: Poller): Promise<void> {
    poller.isHandling = false
    if (failures > 0) {
      const delay = Math.min(firstReceiveDelayMs * 2 ** (failures - 1), MAX_RECEIVE_DELAY_MS)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, delay)
        poller.endPause = () => {
          // A timer that nobody waits for would keep the process.
          clearTimeout(timer)
          resolve()
        }
      })
      poller.endPause = null
    }
    poller.answerDue = now() + waitSeconds * 1000 + callMs
  }

  function received(poller: Poller): void {
    poller.answerDue = null
    if (poller !== current) return
    if (fault !== null) log.info('the queue answers again')
    failures = 0
    fault = null
  }

  function failed(error: Error): void {
    failures += 1
    if (fault === null) log.error({ err: error }, 'the queue cannot be read; trying again')
    fault = error.message
  }

  function open(): Poller {
    const consumer = Consumer.create({
      queueUrl,
      sqs,
      batchSize: BATCH,
      waitTimeSeconds: waitSeconds,
      visibilityTimeout: visibilitySeconds,
      authenticationErrorTimeout: firstReceiveDelayMs,
      messageSystemAttributeNames: ['SentTimestamp', 'ApproximateReceiveCount'],
      suppressFifoWarning: true,
      preReceiveMessageCallback: () => beforeReceive(poller),
      postReceiveMessageCallback: async () => received(poller),
      handleMessageBatch: (messages) => handle(poller, messages)
    })
    const poller: Poller = { consumer, answerDue: null, isHandling: false, endPause: null }
    consumer.on('response_processed', () => {
      poller.answerDue = null
    })
    consumer.on('error', (error, messages) => {
      poller.answerDue = null
      if (poller !== current) return
      if (messages === undefined) failed(error)
      else log.warn({ err: error }, 'messages were kept, but could not be deleted; they will come again')
    })
    consumer.start()
    return poller
  }

  const isOverdue = ({ answerDue }: Poller) => answerDue !== null && now() > answerDue

  /** A call that is never answered holds its poller for ever: that one is dropped, and another takes its place. */
  function watch(): void {
    if (current === null || !isOverdue(current)) return
    const { consumer } = current
    current = null
    consumer.stop({ abort: true })
    failed(new Error(`SQS has not answered within ${callMs / 1000} s`))
    current = open()
  }

  return {
    start() {
      if (current !== null) return
      current = open()
      watchdog = setInterval(watch, Math.min(callMs / 4, MAX_WATCH_MS))
      watchdog.unref()
    },
    async stop() {
      if (watchdog !== null) clearInterval(watchdog)
      const stopping = current
      if (stopping === null) return
      current = null
      // A receive that only waits is broken off; a batch in hand is finished, and deleting it must not be broken off.
      stopping.consumer.stop({ abort: !stopping.isHandling })
      stopping.endPause?.()
      while (stopping.consumer.status.isPolling && !isOverdue(stopping)) {
        await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS))
      }
    },
    state: () => ({ ok: fault === null, reason: fault })
  }
}
