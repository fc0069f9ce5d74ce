import type { Environments } from '../domain/environment.ts'
import { readImageAction } from './ecr/image-action.ts'
import { readDeploymentStateChange, readPipelineEvent, readServiceAction } from './ecs/service-events.ts'
import { readTaskStateChange } from './ecs/task-state-change.ts'
import { type Channel, type Event, openEnvelope, type QueueMessage } from './envelope.ts'
import { readPortalEvent } from './portal-events.ts'
import { ignored, type Reading, rejected } from './reading.ts'

/** What the readers of events need to know. */
export interface ReadingOptions {
  readonly environments: Environments
  /** Names of containers that run beside every service, also as a `_suffix`. */
  readonly containersToIgnore: readonly string[]
}

/** A message read to the end, ready to be written. */
export interface ReadMessage {
  readonly key: string
  readonly event: Event | null
  readonly reading: Reading
}

const has = (value: unknown, name: string) => typeof value === 'object' && value !== null && name in value

/** The kind of an event: its `detail-type`, or, for the senders that leave that out, what its detail looks like. */
function kindOf(event: Event): string | null {
  if (event.detailType !== null && event.detailType !== '') return event.detailType
  if (has(event.detail, 'action-type') && has(event.detail, 'repository-name')) return 'ECR Image Action'
  if (has(event.detail, 'lastStatus') && has(event.detail, 'containers')) return 'ECS Task State Change'
  return null
}

function readEvent(channel: Channel, event: Event, options: ReadingOptions): Reading {
  if (channel === 'portal') return readPortalEvent(event)
  const kind = kindOf(event)
  switch (kind) {
    case 'ECS Task State Change':
      return readTaskStateChange(event, options)
    case 'ECS Deployment State Change':
      return readDeploymentStateChange(event, options.environments)
    case 'ECS Service Action':
      return readServiceAction(event, options.environments)
    case 'ECS Lambda Deployment Updated':
    case 'ECS Lambda Deployment Created':
      return readPipelineEvent(event, options.environments)
    case 'ECR Image Action':
      return readImageAction(event)
    case null:
      return rejected('the event has no detail-type, and its detail is of no known kind')
    default:
      // Scan, replication, referrer and inspector events share these queues in real accounts.
      return ignored(`not followed: ${kind}`)
  }
}

/** Reads a message of either queue: what an event is decides how it is read, not the queue that it came by. */
export function readMessage(channel: Channel, message: QueueMessage, options: ReadingOptions): ReadMessage {
  const envelope = openEnvelope(channel, message)
  if (envelope.kind === 'other') {
    const { key, outcome, reason } = envelope
    return { key, event: null, reading: { outcome, reason } }
  }
  const { event } = envelope
  try {
    return { key: event.key, event, reading: readEvent(channel, event, options) }
  } catch (error) {
    // A fault of a reader must not keep the others of its batch on the queue: the event is kept, and a replay reads it again.
    const reason = error instanceof Error ? error.message : String(error)
    return { key: event.key, event, reading: rejected(`it could not be read: ${reason}`) }
  }
}
