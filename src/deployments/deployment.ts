/** What a deployment is, the ids it goes by, and which request became which deployment. All of it pure. */
import { createHash } from 'node:crypto'
import { compareText, isSameVersion } from '../domain/version.ts'
import type { DeploymentRecord, LinkRecord, RequestRecord, TaskRecord } from '../store/port.ts'

/** What an ECS deployment's id begins with. */
export const ECS_PREFIX = 'ecs-svc/'
const MADE_ID_LENGTH = 32
/** One path segment of characters that nobody encodes or reads as something else (RFC 3986, "unreserved"). */
const SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9._~-]+$/
/** Ids in use are far shorter. */
export const MAX_DEPLOYMENT_ID_LENGTH = 512

/** Whether a text can be a deployment's id: clients link to it as it is, so it is one segment of a path. */
export function isDeploymentId(text: string): boolean {
  return text.length <= MAX_DEPLOYMENT_ID_LENGTH && SEGMENT.test(text)
}

/** A request without a link takes a deployment that begins no later than this after it. */
export const REQUEST_WINDOW_MS = 20 * 60_000

/** Some times are given to the second only, so what began in the second of a request may seem to have begun before it. */
export const TIME_GRAIN_MS = 1_000

/** A short, stable key for a list of texts: a separator inside one of them cannot make two lists equal. */
export function keyOf(...parts: readonly (string | null)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, MADE_ID_LENGTH)
}

/** The ECS deployment that started a task: its `startedBy`, where that is one; null for other starters. */
export function ecsDeploymentOf(startedBy: string | null): string | null {
  return startedBy?.startsWith(ECS_PREFIX) ? startedBy : null
}

/** A deployment's key: account, service, `startedBy`; without `startedBy`, the task definition. */
export function deploymentKeyOf(task: TaskRecord, service: string): string {
  return task.startedBy === null
    ? keyOf('definition', task.account, service, task.taskDefinition ?? task.task)
    : keyOf('started', task.account, service, task.startedBy)
}

/** The facts about a deployment's tasks that the deployment follows from. */
export interface DeploymentExtent {
  readonly begunAt: number
  readonly firstStartedAt: number | null
  readonly newest: TaskRecord
}

/** Who asked for a deployment, by a link event or by a request that fits. */
export interface DeploymentOrigin {
  readonly portalId: string | null
  readonly user: string | null
  readonly userId: string | null
  readonly instanceCount: number | null
}

/** Builds a deployment from its tasks and its origin. */
export function deriveDeployment(key: string, extent: DeploymentExtent, origin: DeploymentOrigin): DeploymentRecord {
  const { newest } = extent
  if (newest.service === null || newest.version === null) throw new Error('a deployment of a task without a service')
  const ecsDeploymentId = ecsDeploymentOf(newest.startedBy)
  // Starters that are no ECS deployment may share a task definition: then they are told apart by their name.
  const maker = newest.startedBy === null || ecsDeploymentId !== null ? [] : [newest.startedBy]
  const madeId = keyOf(newest.account, newest.service, newest.taskDefinition ?? newest.task, ...maker)
  const bareEcsId = ecsDeploymentId?.slice(ECS_PREFIX.length) ?? ''
  return {
    key,
    account: newest.account,
    environment: newest.environment,
    service: newest.service,
    version: newest.version,
    startedBy: newest.startedBy,
    ecsDeploymentId,
    taskDefinition: newest.taskDefinition,
    group: newest.group,
    oneOff: newest.oneOff,
    begunAt: extent.begunAt,
    firstStartedAt: extent.firstStartedAt,
    madeId,
    portalId: origin.portalId,
    deploymentId: origin.portalId ?? (isDeploymentId(bareEcsId) ? bareEcsId : madeId),
    user: origin.user,
    userId: origin.userId,
    instanceCount: origin.instanceCount
  }
}

/** What a link event and the request of its portal id say together: the request speaks first. */
export function originOf(link: LinkRecord | null, request: RequestRecord | null): DeploymentOrigin {
  return {
    portalId: link?.portalId ?? request?.deploymentId ?? null,
    user: request?.user ?? link?.user ?? null,
    userId: request?.userId ?? link?.userId ?? null,
    instanceCount: request?.instanceCount ?? null
  }
}

/**
 * Links get lost: a request without one takes the first deployment without one, of its environment, service and version,
 * that begins within 20 minutes of it. Requests choose in the order they were made.
 * @returns deployment key → request, for the deployments that a request took.
 */
export function assignRequests(
  requests: readonly RequestRecord[],
  deployments: readonly DeploymentRecord[]
): ReadonlyMap<string, RequestRecord> {
  const free = [...deployments].sort((a, b) => a.begunAt - b.begunAt || compareText(a.key, b.key))
  const taken = new Map<string, RequestRecord>()
  const inOrder = [...requests].sort(
    (a, b) => a.requestedAt - b.requestedAt || compareText(a.deploymentId, b.deploymentId)
  )
  for (const request of inOrder) {
    const index = free.findIndex(
      (deployment) =>
        deployment.begunAt > request.requestedAt - TIME_GRAIN_MS &&
        deployment.begunAt <= request.requestedAt + REQUEST_WINDOW_MS &&
        isSameVersion(deployment.version, request.version)
    )
    const deployment = free[index]
    if (deployment === undefined) continue
    free.splice(index, 1)
    taken.set(deployment.key, request)
  }
  return taken
}

/** Merges two words about one link: the later one decides; of two at once, whichever id sorts last, in any order. */
export function mergeLink(known: LinkRecord | null, link: LinkRecord): LinkRecord {
  if (known === null) return link
  return (link.at - known.at || compareText(JSON.stringify(link), JSON.stringify(known))) > 0 ? link : known
}
