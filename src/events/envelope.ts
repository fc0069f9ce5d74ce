/** From a queue's message to the event in it, whatever wraps it. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { EventRecord } from '../store/port.ts'

/** A message as it came from a queue. Times are milliseconds. */
export interface QueueMessage {
  readonly messageId: string
  readonly body: string
  /** SQS's `SentTimestamp`. */
  readonly sentAt: number
}

export type Channel = EventRecord['channel']

/** An event with what every kind of it has. */
export interface Event {
  readonly key: string
  readonly source: string | null
  readonly detailType: string | null
  readonly account: string | null
  readonly id: string
  /** When it happened: the event's `time`, else when its message was sent. */
  readonly time: number
  /** Whether `time` was given to the second only, so that it stands for any moment of it. */
  readonly isTimeToTheSecond: boolean
  readonly sentAt: number
  readonly resources: readonly string[]
  readonly detail: unknown
  /** The whole event, for the senders that put something beside `detail`. */
  readonly root: Readonly<Record<string, unknown>>
}

export type Envelope =
  | { readonly kind: 'event'; readonly event: Event }
  | { readonly kind: 'other'; readonly key: string; readonly outcome: 'ignored' | 'rejected'; readonly reason: string }

/** How deep an event may nest: real ones stay below ten, and a reader that calls itself must not run out of stack. */
const MAX_DEPTH = 64

// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html ; the senders of tests leave most of it out.
const eventSchema = z.object({
  id: z.union([z.string(), z.number().transform(String)]).nullish(),
  'detail-type': z.string().nullish(),
  source: z.string().nullish(),
  account: z.union([z.string(), z.number().transform(String)]).nullish(),
  time: z.string().nullish(),
  resources: z.array(z.string()).nullish(),
  detail: z.record(z.string(), z.unknown()).nullish()
})

// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
const notificationSchema = z.object({ Type: z.literal('Notification'), Message: z.string() })

const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 32)

/** JSON with sorted keys, so that one event has one text however it was written. @throws RangeError past `MAX_DEPTH`. */
function canonicalJson(value: unknown, depth = 0): string {
  if (depth > MAX_DEPTH) throw new RangeError(`nested deeper than ${MAX_DEPTH} levels`)
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${entries.map(([name, item]) => `${JSON.stringify(name)}:${canonicalJson(item, depth + 1)}`).join(',')}}`
  }
  return JSON.stringify(value)
}

function parseJson(text: string): { ok: true; value: unknown } | { ok: false; reason: string } {
  try {
    return { ok: true, value: JSON.parse(text) }
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) }
  }
}

const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?$/

/**
 * The times that AWS writes: ISO 8601. One without a zone is UTC, as all of AWS's are: not this machine's own.
 * @returns milliseconds, or null where the text is none.
 */
export function parseTime(text: string | null | undefined): number | null {
  const match = TIME.exec(text ?? '')
  if (match === null) return null
  const time = Date.parse(match[1] === undefined ? `${match[0]}Z` : match[0])
  return Number.isNaN(time) ? null : time
}

/** One line for all faults that zod found. */
export function faults(error: z.ZodError): string {
  return error.issues
    .map((issue) => `${issue.path.length === 0 ? 'the event' : issue.path.join('.')}: ${issue.message}`)
    .join('; ')
}

/**
 * Reads a message. What is no event is rejected with its reason; its key is made of the message, so that it is logged once.
 */
export function openEnvelope(channel: Channel, message: QueueMessage): Envelope {
  const other = (outcome: 'ignored' | 'rejected', reason: string): Envelope => ({
    kind: 'other',
    key: hash(JSON.stringify([channel, message.messageId, message.body])),
    outcome,
    reason
  })
  const rejected = (reason: string) => other('rejected', reason)
  const outer = parseJson(message.body)
  if (!outer.ok) return rejected(`not JSON: ${outer.reason}`)
  let value = outer.value
  const notification = notificationSchema.safeParse(value)
  if (notification.success) {
    const inner = parseJson(notification.data.Message)
    if (!inner.ok) return rejected(`the SNS notification's Message is not JSON: ${inner.reason}`)
    value = inner.value
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return rejected('not a JSON object')
  if ('Type' in value && (value.Type === 'SubscriptionConfirmation' || value.Type === 'UnsubscribeConfirmation')) {
    return other('ignored', `SNS asks something of the queue's owner: ${value.Type}`)
  }
  const parsed = eventSchema.safeParse(value)
  if (!parsed.success) return rejected(`not an event: ${faults(parsed.error)}`)
  let content: string
  try {
    content = canonicalJson(value)
  } catch (error) {
    if (error instanceof RangeError) return rejected(error.message)
    throw error
  }
  const { data } = parsed
  const id = data.id || message.messageId
  const time = parseTime(data.time)
  return {
    kind: 'event',
    event: {
      // The content is part of it: one well-known sender uses one id for all accounts, another one for every push.
      key: hash(JSON.stringify([data.source ?? null, data.account ?? null, id, content])),
      source: data.source ?? null,
      detailType: data['detail-type'] ?? null,
      account: data.account ?? null,
      id,
      time: time ?? message.sentAt,
      isTimeToTheSecond: time !== null && !/\.\d/.test(data.time ?? ''),
      sentAt: message.sentAt,
      resources: data.resources ?? [],
      detail: data.detail ?? null,
      root: value as Record<string, unknown>
    }
  }
}
