/** The records of deployments as the API shows them: every field present, `null` where nothing is known. */
import type { DeploymentRecord, RequestRecord, RunningRecord, SquashedRow, TaskRecord } from '../store/port.ts'
import { deployedAt } from './task.ts'

/** Shown where nobody is known: clients print these fields as they are. */
const NOBODY = 'n/a'
export const REQUESTED = 'REQUESTED'
/** Why a task ended that no event ended. */
export const REPLACED = 'replaced by a newer task'

/** One task of a deployment, or a request that has no task yet. */
export interface DeploymentView {
  /** One URL segment: see `DeploymentRecord.deploymentId`. */
  readonly deploymentId: string
  readonly environment: string
  readonly service: string
  readonly version: string
  readonly user: string
  readonly userId: string
  /** When the task started; created, while it has not; asked for, while there is none. ISO 8601 UTC. */
  readonly deployedAt: string
  readonly status: string
  /** The image as ECS gave it; the service's name while there is no task. */
  readonly dockerImage: string
  /** The task definition's ARN. */
  readonly taskId: string | null
  /** As ECS gave it, `ecs-svc/…`. */
  readonly ecsSvcDeploymentId: string | null
  readonly cpu: string | null
  readonly memory: string | null
  /** The task's ARN. */
  readonly instanceTaskId: string | null
  /** How many instances were asked for. */
  readonly instanceCount: number | null
  readonly stoppedAt: string | null
  /** ECS's code for why the task stopped. */
  readonly stopCode: string | null
  /** Why the task stopped or cannot start, as ECS said it. */
  readonly reason: string | null
  readonly exitCode: number | null
}

export interface SquashedView extends DeploymentView {
  /** Tasks of that deployment in that status. */
  readonly count: number
  readonly requestedCount: number | null
}

export interface RunningView extends DeploymentView {
  readonly runningCount: number
  /** The versions of all live tasks, newest version first: present while there are several. */
  readonly versions?: { readonly version: string; readonly count: number }[]
}

/** A time as the API writes it. */
export function isoTime(at: number): string {
  return new Date(at).toISOString()
}

/** Why a task ended, as one text: the task's reason and, in parentheses, its container's. */
export function stopReason(task: TaskRecord): string | null {
  if (task.replaced) return REPLACED
  const { stoppedReason, containerReason } = task
  if (stoppedReason === null || containerReason === null) return stoppedReason ?? containerReason
  return stoppedReason.includes(containerReason) ? stoppedReason : `${stoppedReason} (${containerReason})`
}

/** The record of one task. */
export function taskView(task: TaskRecord, deployment: DeploymentRecord): DeploymentView {
  return {
    deploymentId: deployment.deploymentId,
    environment: task.environment,
    service: task.service ?? deployment.service,
    version: task.version ?? deployment.version,
    user: deployment.user ?? NOBODY,
    userId: deployment.userId ?? NOBODY,
    deployedAt: isoTime(deployedAt(task)),
    status: task.status,
    dockerImage: task.image,
    taskId: task.taskDefinition,
    ecsSvcDeploymentId: deployment.ecsDeploymentId,
    cpu: task.cpu,
    memory: task.memory,
    instanceTaskId: task.task,
    instanceCount: deployment.instanceCount,
    stoppedAt: task.stoppedAt === null ? null : isoTime(task.stoppedAt),
    stopCode: task.stopCode,
    reason: stopReason(task),
    exitCode: task.exitCode
  }
}

/** The record of a request that has no task yet. */
export function requestView(request: RequestRecord): DeploymentView {
  return {
    deploymentId: request.deploymentId,
    environment: request.environment,
    service: request.service,
    version: request.version,
    user: request.user ?? NOBODY,
    userId: request.userId ?? NOBODY,
    deployedAt: isoTime(request.requestedAt),
    status: REQUESTED,
    dockerImage: request.service,
    taskId: null,
    ecsSvcDeploymentId: null,
    cpu: null,
    memory: null,
    instanceTaskId: null,
    instanceCount: request.instanceCount,
    stoppedAt: null,
    stopCode: null,
    reason: null,
    exitCode: null
  }
}

/** The record of one deployment in one status. */
export function squashedView(row: SquashedRow): SquashedView {
  return row.kind === 'request'
    ? { ...requestView(row.request), count: 0, requestedCount: row.request.instanceCount }
    : { ...taskView(row.task, row.deployment), count: row.count, requestedCount: row.deployment.instanceCount }
}

/**
 * The record of what runs of one service in one environment.
 * @param at the time that was asked for: what ended its task later was not known then. `null` is now.
 */
export function runningView(running: RunningRecord, at: number | null = null): RunningView {
  const { task, deployment, versions } = running
  const then = at === null ? {} : { stoppedAt: null, stopCode: null, reason: null, exitCode: null }
  return {
    ...taskView(task, deployment),
    ...then,
    status: running.status,
    deployedAt: isoTime(running.deployedAt),
    runningCount: running.runningCount,
    ...(versions.length > 1 ? { versions: [...versions] } : {})
  }
}
