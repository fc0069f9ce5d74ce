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
  /** Whether the last receive came back; the reason where it did not. */
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
  /** How long after its wait a receive may take before its poller is given up, in milliseconds. */
  readonly receiveGraceMs?: number
  /** The first delay after a receive that failed, in milliseconds; it doubles up to `MAX_RECEIVE_DELAY_MS`. */
  readonly firstReceiveDelayMs?: number
  /** The first delay of a message that was not kept, in seconds; it doubles up to `MAX_RETRY_DELAY_SECONDS`. */
  readonly firstRetryDelaySeconds?: number
}

/** SQS hands out ten messages at most, https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html */
const BATCH = 10
const RECEIVE_GRACE_MS = 30_000
const FIRST_RECEIVE_DELAY_MS = 1_000
const MAX_RECEIVE_DELAY_MS = 30_000
const FIRST_RETRY_DELAY_SECONDS = 5
/** Far below the twelve hours that SQS allows: an outage that ends should not leave messages hidden for long. */
const MAX_RETRY_DELAY_SECONDS = 900
const DRAIN_POLL_MS = 10

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

export function createQueueListener(deps: QueueListenerDeps, options: QueueListenerOptions): QueueListener {
  const { sqs, inbox, now } = deps
  const { channel, queueUrl, waitSeconds, visibilitySeconds } = options
  const log = deps.log.child({ channel })
  const receiveGraceMs = options.receiveGraceMs ?? RECEIVE_GRACE_MS
  const firstReceiveDelayMs = options.firstReceiveDelayMs ?? FIRST_RECEIVE_DELAY_MS

  let consumer: Consumer | null = null
  let receivingSince: number | null = null
  // From the moment that messages are in hand until the next receive: deleting them is part of it.
  let isHandling = false
  let failures = 0
  let fault: string | null = null
  let pause: { end: () => void } | null = null
  let watchdog: NodeJS.Timeout | null = null

  async function handle(messages: Message[]): Promise<Message[]> {
    isHandling = true
    const outcomes = await inbox.receive(
      channel,
      messages.map((message) => toQueueMessage(message, now()))
    )
    const kept = messages.filter((_, index) => outcomes[index] === 'done')
    const left = messages.filter((_, index) => outcomes[index] === 'retry')
    if (left.length > 0) await giveBack(left)
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
    try {
      await sqs.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl: queueUrl, Entries }))
    } catch (error) {
      // They come back all the same, when the visibility that they were received with runs out.
      log.warn({ err: error }, 'the visibility of messages could not be changed')
    }
  }

  /** After a receive that failed, the next one waits: longer each time. */
  async function beforeReceive(): Promise<void> {
    isHandling = false
    if (failures > 0) {
      const delay = Math.min(firstReceiveDelayMs * 2 ** (failures - 1), MAX_RECEIVE_DELAY_MS)
      await new Promise<void>((resolve) => {
        setTimeout(resolve, delay)
        pause = { end: resolve }
      })
      pause = null
    }
    receivingSince = now()
  }

  function received(): void {
    receivingSince = null
    if (fault !== null) log.info('the queue answers again')
    failures = 0
    fault = null
  }

  function failed(error: Error): void {
    receivingSince = null
    failures += 1
    if (fault === null) log.error({ err: error }, 'the queue cannot be read; trying again')
    fault = error.message
  }

  function open(): Consumer {
    const opened = Consumer.create({
      queueUrl,
      sqs,
      batchSize: BATCH,
      waitTimeSeconds: waitSeconds,
      visibilityTimeout: visibilitySeconds,
      authenticationErrorTimeout: firstReceiveDelayMs,
      messageSystemAttributeNames: ['SentTimestamp', 'ApproximateReceiveCount'],
      suppressFifoWarning: true,
      preReceiveMessageCallback: beforeReceive,
      postReceiveMessageCallback: async () => received(),
      handleMessageBatch: handle
    })
    opened.on('error', (error, messages) => {
      if (opened !== consumer) return
      if (messages === undefined) failed(error)
      else log.warn({ err: error }, 'messages were kept, but could not be deleted; they will come again')
    })
    opened.start()
    return opened
  }

  /** A receive that never comes back holds its poller for ever: that one is dropped, and another takes its place. */
  function watch(): void {
    if (receivingSince === null || now() - receivingSince <= waitSeconds * 1000 + receiveGraceMs) return
    log.error({ seconds: Math.round((now() - receivingSince) / 1000) }, 'a receive has not come back; polling anew')
    const stuck = consumer
    receivingSince = null
    consumer = null
    stuck?.stop({ abort: true })
    consumer = open()
  }

  return {
    start() {
      if (consumer !== null) return
      consumer = open()
      watchdog = setInterval(watch, Math.max(50, Math.min(receiveGraceMs / 4, 5_000)))
      watchdog.unref()
    },
    async stop() {
      if (watchdog !== null) clearInterval(watchdog)
      const stopping = consumer
      if (stopping === null) return
      consumer = null
      // A receive that only waits is broken off; a batch in hand is finished, and deleting it must not be broken off.
      stopping.stop({ abort: !isHandling })
      pause?.end()
      while (stopping.status.isPolling) await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS))
    },
    state: () => ({ ok: fault === null, reason: fault })
  }
}
