/**
 * The state of one task and one image in it, from its events: whatever their order, number or loss, the same events end
 * in the same record. Every field is a minimum, a maximum or a union over the events, so the merge is commutative,
 * associative and idempotent.
 */

import type { Digest } from '../domain/digest.ts'
import { compareText } from '../domain/version.ts'
import type { StatusSeen, TaskRecord } from '../store/port.ts'

/** The lifecycle of a task, https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html */
const LIFECYCLE = [
  'PROVISIONING',
  'PENDING',
  'ACTIVATING',
  'RUNNING',
  'DEACTIVATING',
  'STOPPING',
  'DEPROVISIONING',
  'STOPPED',
  // A passing state after STOPPED that only some calls show.
  'DELETED'
] as const

const RUNNING_RANK = LIFECYCLE.indexOf('RUNNING')
const STOPPED_RANK = LIFECYCLE.indexOf('STOPPED')

/** How many statuses a record keeps: a task passes through eight; one that is sent for ever must not grow for ever. */
export const STATUSES_KEPT = 32

/** Whether `status` is one that ECS documents for a task. */
export function isTaskStatus(status: string): boolean {
  return (LIFECYCLE as readonly string[]).includes(status)
}

/** How far along its life a task is: 0 for PROVISIONING, growing; -1 for a status that is none. */
export function statusRank(status: string): number {
  return (LIFECYCLE as readonly string[]).indexOf(status)
}

/** What one event says of one task and image. */
export interface TaskObservation {
  readonly key: string
  readonly slot: string
  readonly account: string
  readonly environment: string
  readonly task: string
  readonly taskDefinition: string | null
  readonly startedBy: string | null
  readonly group: string | null
  readonly repository: string
  readonly tag: string | null
  readonly digest: Digest | null
  readonly imageDigest: Digest | null
  readonly image: string
  readonly cpu: string | null
  readonly memory: string | null
  readonly stopCode: string | null
  readonly stoppedReason: string | null
  readonly exitCode: number | null
  readonly containerReason: string | null
  /** The record's status: STOPPED where its containers are, else the task's. */
  readonly status: string
  /** `detail.version`; 0 where the sender leaves it out. */
  readonly version: number
  /** `detail.updatedAt`, else the event's time. */
  readonly at: number
  /** The event's time. */
  readonly time: number
  readonly sentAt: number
  /** Tells two events apart that agree in everything that orders them. */
  readonly fingerprint: string
  readonly createdAt: number | null
  readonly startedAt: number | null
  readonly stoppedAt: number | null
}

/** What a record takes over from its newest event as it is. */
type Described = Pick<
  TaskRecord,
  | 'group'
  | 'tag'
  | 'digest'
  | 'imageDigest'
  | 'image'
  | 'cpu'
  | 'memory'
  | 'stopCode'
  | 'stoppedReason'
  | 'exitCode'
  | 'containerReason'
>

function describe(observation: TaskObservation): Described {
  const { group, tag, digest, imageDigest, image, cpu, memory } = observation
  const { stopCode, stoppedReason, exitCode, containerReason } = observation
  return { group, tag, digest, imageDigest, image, cpu, memory, stopCode, stoppedReason, exitCode, containerReason }
}

/** Higher version wins; then the later time; then the further status; then whatever is the same in any order. */
function isNewer(a: TaskRecord['latest'], b: TaskRecord['latest']): boolean {
  return (
    (a.version - b.version ||
      a.at - b.at ||
      a.time - b.time ||
      statusRank(a.status) - statusRank(b.status) ||
      a.sentAt - b.sentAt ||
      compareText(a.fingerprint, b.fingerprint)) > 0
  )
}

const earliest = (a: number | null, b: number | null) => (a === null ? b : b === null ? a : Math.min(a, b))

function mergeStatuses(known: readonly StatusSeen[], seen: StatusSeen): readonly StatusSeen[] {
  const same = (other: StatusSeen) =>
    other.version === seen.version && other.at === seen.at && other.status === seen.status
  if (known.some(same)) return known
  return [...known, seen]
    .sort((a, b) => a.version - b.version || a.at - b.at || statusRank(a.status) - statusRank(b.status))
    .slice(-STATUSES_KEPT)
}

/**
 * Merges an event into a record; `null` is the record before its first event. What the slot and the image's artifact
 * add (`replaced`, `service`, `version`, `deployment`) is kept as it was: see `settleTask`.
 */
export function mergeTask(record: TaskRecord | null, observation: TaskObservation): TaskRecord {
  const { status, version, at, time, sentAt, fingerprint } = observation
  const rank = statusRank(status)
  const seen = { status, at, version }
  const latest = { version, at, time, status, sentAt, fingerprint }
  const seenRunningAt = rank >= RUNNING_RANK && rank < STOPPED_RANK ? at : null
  if (record === null) {
    return settleTask({
      key: observation.key,
      slot: observation.slot,
      slotOrder: '',
      account: observation.account,
      environment: observation.environment,
      task: observation.task,
      taskDefinition: observation.taskDefinition,
      startedBy: observation.startedBy,
      repository: observation.repository,
      ...describe(observation),
      latest,
      statuses: [seen],
      saidCreatedAt: observation.createdAt,
      firstSeenAt: time,
      saidStartedAt: observation.startedAt,
      firstSeenRunningAt: seenRunningAt,
      saidStoppedAt: observation.stoppedAt,
      createdAt: at,
      startedAt: null,
      stoppedAt: null,
      status,
      replaced: false,
      oneOff: false,
      service: null,
      version: null,
      deployment: null,
      deploymentId: null
    })
  }
  const newer = isNewer(latest, record.latest)
  return settleTask({
    ...record,
    ...(newer ? { ...describe(observation), latest } : {}),
    statuses: mergeStatuses(record.statuses, seen),
    saidCreatedAt: earliest(record.saidCreatedAt, observation.createdAt),
    firstSeenAt: Math.min(record.firstSeenAt, time),
    saidStartedAt: earliest(record.saidStartedAt, observation.startedAt),
    firstSeenRunningAt: earliest(record.firstSeenRunningAt, seenRunningAt),
    saidStoppedAt: earliest(record.saidStoppedAt, observation.stoppedAt)
  })
}

/** When the statuses turned to stopped for good: a container that ECS restarts was stopped before, and that counts no more. */
function lastSeenStopping(statuses: readonly StatusSeen[]): number | null {
  const lastAlive = statuses.findLastIndex((seen) => statusRank(seen.status) < STOPPED_RANK)
  const stops = statuses.slice(lastAlive + 1).map((seen) => seen.at)
  return stops.length === 0 ? null : Math.min(...stops)
}

const TIME_DIGITS = 15

/** Places a record in its slot: by creation, then by its newest event, then by when that was sent. */
function slotOrder(createdAt: number, latest: TaskRecord['latest'], key: string): string {
  const times = [createdAt, latest.time, latest.sentAt].map((time) =>
    String(Math.max(0, Math.round(time))).padStart(TIME_DIGITS, '0')
  )
  return [...times, key].join(' ')
}

/**
 * Works out what follows from a record's events and the next record of its slot: some senders never stop anything and
 * give every task one ARN, so a record ends, at the latest, when the next one begins.
 */
export function settleTask(record: TaskRecord, next: Pick<TaskRecord, 'createdAt'> | null = null): TaskRecord {
  const createdAt = record.saidCreatedAt ?? record.firstSeenAt
  const stopped = statusRank(record.latest.status) >= STOPPED_RANK
  // What an event says is exact; when it was seen is a guess, often to the second only.
  const ownStop = stopped ? (record.saidStoppedAt ?? lastSeenStopping(record.statuses)) : null
  const replaced = next !== null && (ownStop === null || ownStop > next.createdAt)
  const started = record.saidStartedAt ?? record.firstSeenRunningAt
  const stoppedAt = replaced ? next.createdAt : ownStop
  return {
    ...record,
    createdAt,
    startedAt: started === null ? null : Math.max(started, createdAt),
    stoppedAt: stoppedAt === null ? null : Math.max(stoppedAt, createdAt),
    status: replaced || stopped ? 'STOPPED' : record.latest.status,
    replaced,
    oneOff: record.group?.startsWith('family:') ?? false,
    slotOrder: slotOrder(createdAt, record.latest, record.key)
  }
}

/** Whether a record is live at a time, from created until stopped; `null` is now, when nothing that began is yet to come. */
export function isLive(task: Pick<TaskRecord, 'createdAt' | 'stoppedAt'>, at: number | null = null): boolean {
  if (at === null) return task.stoppedAt === null
  return task.createdAt <= at && (task.stoppedAt === null || task.stoppedAt > at)
}

/** Whether a record is running at a time, from started until stopped; `null` is now. */
export function isRunning(
  task: Pick<TaskRecord, 'createdAt' | 'startedAt' | 'stoppedAt'>,
  at: number | null = null
): boolean {
  if (task.startedAt === null || !isLive(task, at)) return false
  return at === null || task.startedAt <= at
}

/**
 * The status of a live record at a time: the last one seen until then, but never one that its start contradicts
 * (the event that said RUNNING may be lost, and the one that says when it started still came).
 */
export function statusAt(task: TaskRecord, at: number | null = null): string {
  const until = at ?? Number.POSITIVE_INFINITY
  let status = 'PROVISIONING'
  for (const seen of task.statuses) if (seen.at <= until && statusRank(seen.status) < STOPPED_RANK) status = seen.status
  if (isRunning(task, at)) return statusRank(status) < RUNNING_RANK ? 'RUNNING' : status
  return statusRank(status) >= RUNNING_RANK ? 'PENDING' : status
}

/** The time that lists are ordered by: when the task started; created, while it has not. */
export function deployedAt(task: Pick<TaskRecord, 'createdAt' | 'startedAt'>): number {
  return task.startedAt ?? task.createdAt
}
