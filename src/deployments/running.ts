/** What is running where, from the tasks that are live: one rule for now and for any time. */

import { compareTags, compareText } from '../domain/version.ts'
import type { DeploymentRecord, RunningRecord, TaskRecord } from '../store/port.ts'
import { deployedAt, isLive, isRunning, statusAt, statusRank } from './task.ts'

interface LiveTask {
  readonly task: TaskRecord
  readonly deployment: DeploymentRecord
}

/** Newest first: by `deployedAt`, then by the task's name, so that equal times have one order. */
export function compareNewest(a: TaskRecord, b: TaskRecord): number {
  return deployedAt(b) - deployedAt(a) || compareText(a.task, b.task) || compareText(a.key, b.key)
}

function newestDeployment(tasks: readonly LiveTask[]): DeploymentRecord | null {
  let newest: DeploymentRecord | null = null
  for (const { deployment } of tasks) {
    if (
      newest === null ||
      deployment.begunAt > newest.begunAt ||
      (deployment.begunAt === newest.begunAt && deployment.key > newest.key)
    ) {
      newest = deployment
    }
  }
  return newest
}

/**
 * The one record of a service in an environment, from its tasks there.
 * @param at a time in milliseconds; null is now.
 * @returns null where no task is live then: a service whose tasks have all stopped is not running anywhere.
 */
export function runningRecord(tasks: readonly LiveTask[], at: number | null = null): RunningRecord | null {
  const live = tasks.filter(({ task }) => isLive(task, at) && !task.oneOff)
  const running = live.filter(({ task }) => isRunning(task, at))
  const deployment = newestDeployment(running) ?? newestDeployment(live)
  if (deployment === null) return null
  const own = live.filter((entry) => entry.deployment.key === deployment.key).map(({ task }) => task)
  const [newest] = own.toSorted(compareNewest)
  if (newest === undefined) return null
  const counts = new Map<string, number>()
  for (const { task } of live) counts.set(task.version ?? '', (counts.get(task.version ?? '') ?? 0) + 1)
  const furthest = own.map((task) => statusAt(task, at)).reduce((a, b) => (statusRank(b) > statusRank(a) ? b : a))
  const firstStart = deployment.firstStartedAt
  return {
    environment: deployment.environment,
    service: deployment.service,
    deployment,
    task: newest,
    status: furthest,
    deployedAt: firstStart !== null && (at === null || firstStart <= at) ? firstStart : deployment.begunAt,
    runningCount: own.filter((task) => isRunning(task, at)).length,
    versions: [...counts]
      .map(([version, count]) => ({ version, count }))
      .sort((a, b) => compareTags(b.version, a.version))
  }
}
