/** What happened to one deployment, and when: put together from what is known of it, when it is asked for. */

import { compareText } from '../domain/version.ts'
import type { RequestRecord, RolloutRecord, ServiceActionRecord, TaskRecord } from '../store/port.ts'
import { isoTime, REQUESTED, stopReason } from './record.ts'

/** How many entries a history shows, the newest: a crash loop goes on for ever, and an answer does not. */
export const HISTORY_SHOWN = 1_000

const STOPPED = 'STOPPED'

/** One thing that happened. */
export interface HistoryEntry {
  /** ISO 8601 UTC. */
  readonly at: string
  /** `REQUESTED`, a task's status, or the name that ECS gives a rollout's event or a service's action. */
  readonly event: string
  readonly reason: string | null
  /** The task that it happened to; null where it happened to the deployment. */
  readonly instanceTaskId: string | null
}

/** What is known of a deployment. The pipeline's link is no part of it: its event has no time of its own. */
export interface DeploymentFacts {
  readonly request: RequestRecord | null
  readonly rollouts: readonly RolloutRecord[]
  readonly actions: readonly ServiceActionRecord[]
  readonly tasks: readonly TaskRecord[]
}

interface Moment {
  readonly at: number
  readonly event: string
  readonly reason: string | null
  readonly task: string | null
}

/** A task's statuses as they changed: ECS sends an event for other changes too, with the status it had. */
function taskMoments(task: TaskRecord): Moment[] {
  const moments: Moment[] = []
  for (const [index, { status, at }] of task.statuses.entries()) {
    // Its end is told below, once, with its reason.
    if (status === STOPPED || status === task.statuses[index - 1]?.status) continue
    moments.push({ at, event: status, reason: null, task: task.task })
  }
  if (task.stoppedAt === null) return moments
  return [...moments, { at: task.stoppedAt, event: STOPPED, reason: stopReason(task), task: task.task }]
}

/** The history of a deployment, oldest first; of more than `HISTORY_SHOWN` entries, the newest. */
export function historyOf({ request, rollouts, actions, tasks }: DeploymentFacts): HistoryEntry[] {
  const moments: Moment[] = [
    ...(request === null ? [] : [{ at: request.requestedAt, event: REQUESTED, reason: null, task: null }]),
    ...[...rollouts, ...actions].map(({ at, eventName, reason }) => ({ at, event: eventName, reason, task: null })),
    ...tasks.flatMap(taskMoments)
  ]
  return (
    moments
      // Sorting keeps the order of equal times: a request comes first, a task's statuses stay in their order.
      .sort((a, b) => a.at - b.at || compareText(a.task ?? '', b.task ?? ''))
      .slice(-HISTORY_SHOWN)
      .map(({ at, event, reason, task }) => ({ at: isoTime(at), event, reason, instanceTaskId: task }))
  )
}
