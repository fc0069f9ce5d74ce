import type { z } from 'zod'
import { applyTask, isTaskStatus, keyOf, type TaskObservation } from '../../deployments/deployments.ts'
import { isDigest } from '../../domain/digest.ts'
import type { Environments } from '../../domain/environment.ts'
import { type ImageReference, parseImageReference } from '../../domain/image-reference.ts'
import { compareTags, compareText } from '../../domain/version.ts'
import { type Event, faults, parseTime } from '../envelope.ts'
import { done, ignored, type Reading, rejected } from '../reading.ts'
import { taskStateChangeSchema } from './schema.ts'

type Container = z.output<typeof taskStateChangeSchema>['containers'][number]
type PlacedContainer = Container & { readonly reference: ImageReference }

/** Whether a container is one that runs beside every service: named so, or so with `something_` before it. */
export function isIgnoredContainer(name: string | null, ignoredNames: readonly string[]): boolean {
  return name !== null && ignoredNames.some((ignoredName) => name === ignoredName || name.endsWith(`_${ignoredName}`))
}

/** Of several containers with one repository, the one that speaks for them: one that is not stopped, then the highest tag. */
function speaker(containers: readonly PlacedContainer[]): PlacedContainer | undefined {
  const stopped = (container: Container) => Number(container.lastStatus === 'STOPPED')
  return containers.toSorted(
    (a, b) =>
      stopped(a) - stopped(b) ||
      compareTags(b.reference.tag ?? '', a.reference.tag ?? '') ||
      compareText(a.name ?? '', b.name ?? '')
  )[0]
}

/** Reads an ECS Task State Change: one observation for each image repository among the task's containers. */
export function readTaskStateChange(
  event: Event,
  options: { environments: Environments; containersToIgnore: readonly string[] }
): Reading {
  const parsed = taskStateChangeSchema.safeParse(event.detail)
  if (!parsed.success) return rejected(`not a task state change: ${faults(parsed.error)}`)
  const detail = parsed.data
  if (!isTaskStatus(detail.lastStatus)) return rejected(`lastStatus ${detail.lastStatus} is no status of a task`)
  const { account } = event
  if (account === null) return rejected('the event names no account')
  const environment = options.environments.ofAccount(account)
  if (environment === null) return rejected(`unknown account ${account}: it is not in ENVIRONMENTS`)
  const task = detail.taskArn ?? event.resources[0] ?? detail.taskDefinitionArn
  if (task === null) return rejected('the event names no task: no taskArn, resources or taskDefinitionArn')

  const own = detail.containers.filter((container) => !isIgnoredContainer(container.name, options.containersToIgnore))
  const byRepository = new Map<string, PlacedContainer[]>()
  const unreadable: string[] = []
  for (const container of own) {
    const reference = container.image === null ? null : parseImageReference(container.image)
    if (reference === null) unreadable.push(container.image ?? `no image for ${container.name ?? 'a container'}`)
    else
      byRepository.set(reference.repository, [
        ...(byRepository.get(reference.repository) ?? []),
        { ...container, reference }
      ])
  }
  if (byRepository.size === 0) {
    return unreadable.length === 0
      ? ignored('no container but those in CONTAINERS_TO_IGNORE')
      : rejected(`no container's image can be read: ${unreadable.join(', ')}`)
  }

  const observations = [...byRepository].map(([repository, containers]): TaskObservation => {
    const main = speaker(containers)
    if (main === undefined) throw new Error('a repository without a container')
    const failed = containers.find((container) => (container.exitCode ?? 0) !== 0) ?? main
    return {
      key: keyOf(account, task, repository, detail.taskDefinitionArn, detail.startedBy),
      slot: keyOf(account, task, repository),
      account,
      environment,
      task,
      taskDefinition: detail.taskDefinitionArn,
      startedBy: detail.startedBy,
      group: detail.group,
      repository,
      tag: main.reference.tag,
      digest: main.reference.digest,
      imageDigest: main.imageDigest !== null && isDigest(main.imageDigest) ? main.imageDigest : null,
      image: main.image ?? repository,
      cpu: detail.cpu,
      memory: detail.memory,
      stopCode: detail.stopCode,
      stoppedReason: detail.stoppedReason,
      exitCode: failed.exitCode ?? null,
      containerReason: failed.reason,
      status: containers.every((container) => container.lastStatus === 'STOPPED') ? 'STOPPED' : detail.lastStatus,
      version: detail.version ?? 0,
      at: parseTime(detail.updatedAt) ?? event.time,
      time: event.time,
      sentAt: event.sentAt,
      fingerprint: event.key,
      createdAt: parseTime(detail.createdAt),
      startedAt: parseTime(detail.startedAt),
      stoppedAt: parseTime(detail.stoppedAt)
    }
  })
  const note = unreadable.length === 0 ? null : `left out, an image that cannot be read: ${unreadable.join(', ')}`
  return done(function* (tx) {
    for (const observation of observations) yield* applyTask(tx, observation)
  }, note)
}
