/**
 * Keeps what follows from events in step with them, inside the transaction that keeps the event: tasks, the slots they
 * share, the deployments they form, the requests these answer, and what is running where.
 */
import { isDeepStrictEqual } from 'node:util'
import { compareTags, compareText } from '../domain/version.ts'
import type {
  DeploymentRecord,
  LinkRecord,
  Period,
  RequestRecord,
  RolloutRecord,
  ServiceActionRecord,
  TaskRecord,
  Transaction,
  VersionInEnvironment,
  Work
} from '../store/port.ts'
import {
  assignRequests,
  type DeploymentOrigin,
  deploymentKeyOf,
  deriveDeployment,
  mergeLink,
  originOf,
  REQUEST_WINDOW_MS,
  TIME_GRAIN_MS
} from './deployment.ts'
import { runningRecord } from './running.ts'
import { deployedAt, mergeTask, settleTask, type TaskObservation } from './task.ts'

/** A request as somebody makes it. */
export type NewRequest = Omit<RequestRecord, 'service' | 'started'>

/** An image whose artifact came to be, changed or was deleted. */
export interface ChangedImage {
  readonly repository: string
  readonly tag: string
  readonly digests: readonly string[]
  readonly service: string | null
}

interface TaskChange {
  readonly before: TaskRecord | null
  readonly after: TaskRecord
}

type Place = readonly [environment: string, service: string]

/** A version in an environment about which something changed, at the time `at` of its deployment or request. */
interface Target extends VersionInEnvironment {
  readonly at: number
}

/** The service and version of an image, or null while no artifact with a service label is known for it. */
function* matchImage(
  tx: Transaction,
  image: Pick<TaskRecord, 'repository' | 'tag' | 'digest' | 'imageDigest'>
): Work<{ service: string; version: string } | null> {
  const { repository, tag } = image
  for (const digest of [image.digest, image.imageDigest]) {
    if (digest === null) continue
    const revisions = yield* tx.revisionsOfDigest(repository, digest)
    const [highest] = [...revisions].sort((a, b) => compareTags(b.tag, a.tag))
    const match = revisions.find((revision) => revision.tag === tag) ?? highest
    if (match !== undefined) return match.service === null ? null : { service: match.service, version: match.tag }
  }
  // A digest that is no artifact's hides nothing beside a tag: one sender puts a constant there.
  if (tag === null) return null
  const artifact = yield* tx.artifact(repository, tag)
  return artifact === null || artifact.service === null ? null : { service: artifact.service, version: artifact.tag }
}

/** Gives a task the artifact, and with it the deployment, that its image names now. */
function* placeTask(tx: Transaction, task: TaskRecord): Work<TaskRecord> {
  const match = yield* matchImage(tx, task)
  if (match === null) return { ...task, service: null, version: null, deployment: null, deploymentId: null }
  const deployment = deploymentKeyOf(task, match.service)
  const known = yield* tx.deployment(deployment)
  return { ...task, ...match, deployment, deploymentId: known?.deploymentId ?? null }
}

/** The service that a request means: a service's name, or its image's; as it was sent where neither is known. */
function* serviceNamed(tx: Transaction, name: string): Work<string> {
  if (yield* tx.isServiceKnown(name)) return name
  return (yield* tx.newestArtifactOfImage(name))?.service ?? name
}

/** Counts the tasks of each deployment by status, and remembers the newest of each. */
function* countStatuses(tx: Transaction, changes: readonly TaskChange[]): Work<void> {
  const deltas = new Map<string, { deployment: string; status: string; environment: string; delta: number }>()
  const add = (task: TaskRecord | null, change: number) => {
    if (task === null || task.deployment === null) return
    const { deployment, status, environment } = task
    const key = `${deployment} ${status}`
    const delta = (deltas.get(key)?.delta ?? 0) + change
    deltas.set(key, { deployment, status, environment, delta })
  }
  for (const { before, after } of changes) {
    add(before, -1)
    add(after, 1)
  }
  for (const { deployment, status, environment, delta } of deltas.values()) {
    const known = yield* tx.deploymentStatus(deployment, status)
    const newest = yield* tx.newestTaskInStatus(deployment, status)
    if (newest === null) yield* tx.removeDeploymentStatus(deployment, status)
    else {
      const count = (known?.count ?? 0) + delta
      const newestTask = newest.key
      yield* tx.putDeploymentStatus({
        deployment,
        status,
        environment,
        count,
        newestTask,
        deployedAt: deployedAt(newest)
      })
    }
  }
}

/**
 * The period around a time outside which nothing bears on who answers whom in it: it is extended while a request is so near that
 * its 20 minutes reach into it, or those of one inside reach that far. So a change costs the same however long the history.
 */
function* periodOfRequests(
  tx: Transaction,
  target: Target
): Work<{ period: Period; requests: readonly RequestRecord[] }> {
  let period: Period = { from: target.at, to: target.at }
  for (;;) {
    const reach = REQUEST_WINDOW_MS + TIME_GRAIN_MS
    const near = { from: period.from - reach, to: period.to + reach }
    const requests = yield* tx.requestsOfVersion(target, near)
    const times = requests.map((request) => request.requestedAt)
    const wider = { from: Math.min(period.from, ...times), to: Math.max(period.to, ...times) }
    if (wider.from === period.from && wider.to === period.to) return { period, requests }
    period = wider
  }
}

/** Decides anew which requests for one version became which deployments. Answers the places whose deployments changed. */
function* reassignRequests(tx: Transaction, target: Target): Work<readonly Place[]> {
  const { period, requests } = yield* periodOfRequests(tx, target)
  const begun = { from: period.from - TIME_GRAIN_MS, to: period.to + REQUEST_WINDOW_MS }
  const unlinked: DeploymentRecord[] = []
  for (const deployment of yield* tx.deploymentsOfVersion(target, begun)) {
    const { account, ecsDeploymentId } = deployment
    const link = ecsDeploymentId === null ? null : yield* tx.link(account, ecsDeploymentId)
    if (link === null) unlinked.push(deployment)
  }
  const open: RequestRecord[] = []
  for (const request of requests) {
    const links = yield* tx.linksOfPortalId(request.deploymentId)
    if (links.length === 0) open.push(request)
    else yield* markStarted(tx, request, yield* haveTasks(tx, links))
  }
  const taken = assignRequests(open, unlinked)
  const places: Place[] = []
  for (const deployment of unlinked) {
    const origin = originOf(null, taken.get(deployment.key) ?? null)
    if (yield* putOrigin(tx, deployment, origin)) places.push([deployment.environment, deployment.service])
  }
  const started = new Set([...taken.values()].map((request) => request.deploymentId))
  for (const request of open) yield* markStarted(tx, request, started.has(request.deploymentId))
  return places
}

function* haveTasks(tx: Transaction, links: readonly LinkRecord[]): Work<boolean> {
  for (const link of links) {
    if ((yield* tx.deploymentsOfEcsDeployment(link.account, link.ecsDeploymentId)).length > 0) return true
  }
  return false
}

function* markStarted(tx: Transaction, request: RequestRecord, started: boolean): Work<void> {
  if (request.started !== started) yield* tx.putRequest({ ...request, started })
}

/** Writes a deployment with another origin; answers whether that changed it. */
function* putOrigin(tx: Transaction, deployment: DeploymentRecord, origin: DeploymentOrigin): Work<boolean> {
  const extent = yield* tx.deploymentExtent(deployment.key)
  if (extent === null) return false
  const derived = deriveDeployment(deployment.key, extent, origin)
  if (isDeepStrictEqual(derived, deployment)) return false
  yield* tx.putDeployment(derived)
  return true
}

/** The link of a deployment, and the request of that link's portal id. */
function* linkOf(
  tx: Transaction,
  deployment: Pick<DeploymentRecord, 'account' | 'ecsDeploymentId'>
): Work<{ link: LinkRecord | null; request: RequestRecord | null }> {
  const { account, ecsDeploymentId } = deployment
  const link = ecsDeploymentId === null ? null : yield* tx.link(account, ecsDeploymentId)
  const request = link === null ? null : yield* tx.request(link.portalId)
  return { link, request }
}

/** Derives a deployment anew from its tasks. Answers whose requests may now have other deployments. */
function* refreshDeployment(tx: Transaction, key: string): Work<readonly Target[]> {
  const before = yield* tx.deployment(key)
  const extent = yield* tx.deploymentExtent(key)
  // Only deployments of services answer requests: see `deploymentsOfVersion`.
  const unlinkedOrigin = before === null || extent === null || extent.newest.oneOff ? originOf(null, null) : before
  const draft = extent === null ? null : deriveDeployment(key, extent, unlinkedOrigin)
  const subject = draft ?? before
  if (subject === null) return []
  const { link, request } = yield* linkOf(tx, subject)
  const after =
    draft === null || extent === null || link === null ? draft : deriveDeployment(key, extent, originOf(link, request))
  if (isDeepStrictEqual(before, after)) return []
  if (after === null) yield* tx.removeDeployment(key)
  else yield* tx.putDeployment(after)
  const chosenBy = (deployment: DeploymentRecord) => [deployment.begunAt, deployment.version, deployment.oneOff]
  if (before !== null && after !== null && isDeepStrictEqual(chosenBy(before), chosenBy(after))) return []
  const targets = [before, after].filter((deployment) => deployment !== null).map(targetOf)
  return request === null ? targets : [...targets, targetOf(request)]
}

function targetOf(of: DeploymentRecord | RequestRecord): Target {
  const { environment, service, version } = of
  return { environment, service, version, at: 'requestedAt' in of ? of.requestedAt : of.begunAt }
}

function* reassignAll(tx: Transaction, targets: readonly Target[]): Work<readonly Place[]> {
  const places: Place[] = []
  for (const target of distinct(targets)) places.push(...(yield* reassignRequests(tx, target)))
  return places
}

/** Each once, in one order for all: transactions that lock in the same order do not wait for each other in a ring. */
function distinct<T extends Place | Target>(items: readonly T[]): readonly T[] {
  const byText = new Map(items.map((item) => [JSON.stringify(item), item]))
  return [...byText].sort(([a], [b]) => compareText(a, b)).map(([, item]) => item)
}

/** Computes what runs in these places anew. */
function* refreshRunning(tx: Transaction, places: readonly Place[]): Work<void> {
  for (const [environment, service] of distinct(places)) {
    const deployments = new Map<string, DeploymentRecord>()
    const live: { task: TaskRecord; deployment: DeploymentRecord }[] = []
    for (const task of yield* tx.liveTasks(environment, service)) {
      if (task.deployment === null) continue
      const deployment = deployments.get(task.deployment) ?? (yield* tx.deployment(task.deployment))
      if (deployment === null) continue
      deployments.set(task.deployment, deployment)
      live.push({ task, deployment })
    }
    const running = runningRecord(live)
    if (running === null) yield* tx.removeRunning(environment, service)
    else yield* tx.putRunning(running)
  }
}

/** Writes changed tasks and everything that follows from them. */
function* commitTasks(tx: Transaction, changes: readonly TaskChange[]): Work<void> {
  const real = changes.filter(({ before, after }) => !isDeepStrictEqual(before, after))
  for (const { after } of real) yield* tx.putTask(after)
  yield* countStatuses(tx, real)
  const deployments = new Set<string>()
  const places: Place[] = []
  for (const task of real.flatMap(({ before, after }) => [before, after])) {
    if (task === null || task.deployment === null || task.service === null) continue
    deployments.add(task.deployment)
    places.push([task.environment, task.service])
  }
  const targets: Target[] = []
  for (const key of [...deployments].sort(compareText)) targets.push(...(yield* refreshDeployment(tx, key)))
  places.push(...(yield* reassignAll(tx, targets)))
  yield* refreshRunning(tx, places)
}

/** Takes in what one event says of one task and image. */
export function* applyTask(tx: Transaction, observation: TaskObservation): Work<void> {
  const before = yield* tx.task(observation.key)
  const merged = mergeTask(before, observation)
  const moved = before === null || before.slotOrder !== merged.slotOrder
  const { next } = yield* tx.slotNeighbours(merged.slot, merged.slotOrder, merged.key)
  const after = yield* placeTask(tx, settleTask(merged, next))
  const changes: TaskChange[] = [{ before, after }]
  if (moved) {
    // The records that came before it, in its old place and in its new one, now end at another time.
    const earlier = new Map<string, TaskRecord>()
    for (const order of [before?.slotOrder, after.slotOrder]) {
      if (order === undefined) continue
      const { previous } = yield* tx.slotNeighbours(after.slot, order, after.key)
      if (previous !== null) earlier.set(previous.key, previous)
    }
    for (const previous of earlier.values()) {
      const following = (yield* tx.slotNeighbours(after.slot, previous.slotOrder, previous.key)).next
      const isNext = after.slotOrder > previous.slotOrder
      const candidates = [isNext ? after : null, following?.key === after.key ? null : following]
      const [nearest] = candidates
        .filter((candidate) => candidate !== null)
        .sort((a, b) => compareText(a.slotOrder, b.slotOrder))
      changes.push({ before: previous, after: settleTask(previous, nearest ?? null) })
    }
  }
  yield* commitTasks(tx, changes)
}

/** Matches the tasks of an image anew after its artifact changed, and the requests that name the image or its service. */
export function* applyImage(tx: Transaction, image: ChangedImage): Work<void> {
  const changes: TaskChange[] = []
  for (const before of yield* tx.tasksOfImage(image.repository, image.tag, image.digests)) {
    changes.push({ before, after: yield* placeTask(tx, before) })
  }
  yield* commitTasks(tx, changes)
  const targets: Target[] = []
  for (const name of new Set([image.repository, image.service])) {
    if (name === null) continue
    const service = yield* serviceNamed(tx, name)
    for (const request of yield* tx.requestsNaming(name)) {
      if (request.service === service) continue
      const renamed = { ...request, service }
      yield* tx.putRequest(renamed)
      targets.push(targetOf(request), targetOf(renamed))
    }
  }
  yield* refreshRunning(tx, yield* reassignAll(tx, targets))
}

/** Takes in a request. One with a known id changes nothing. */
export function* applyRequest(tx: Transaction, request: NewRequest): Work<RequestRecord> {
  const known = yield* tx.request(request.deploymentId)
  if (known !== null) return known
  const service = yield* serviceNamed(tx, request.requestedService)
  const record: RequestRecord = { ...request, service, started: false }
  yield* tx.putRequest(record)
  const links = yield* tx.linksOfPortalId(record.deploymentId)
  const places: Place[] = []
  for (const link of links) places.push(...(yield* refreshLinked(tx, link)))
  places.push(...(yield* reassignAll(tx, [targetOf(record)])))
  yield* refreshRunning(tx, places)
  return (yield* tx.request(record.deploymentId)) ?? record
}

/** Writes what a link says into the deployments that it names. */
function* refreshLinked(tx: Transaction, link: LinkRecord): Work<readonly Place[]> {
  const places: Place[] = []
  for (const deployment of yield* tx.deploymentsOfEcsDeployment(link.account, link.ecsDeploymentId)) {
    const found = yield* linkOf(tx, deployment)
    if (yield* putOrigin(tx, deployment, originOf(found.link, found.request))) {
      places.push([deployment.environment, deployment.service])
    }
  }
  return places
}

/** Takes in a link event: from then on it decides, whatever request had taken the deployment before. */
export function* applyLink(tx: Transaction, link: LinkRecord): Work<void> {
  const before = yield* tx.link(link.account, link.ecsDeploymentId)
  const after = mergeLink(before, link)
  if (isDeepStrictEqual(before, after)) return
  yield* tx.putLink(after)
  const places = [...(yield* refreshLinked(tx, after))]
  const targets: Target[] = (yield* tx.deploymentsOfEcsDeployment(after.account, after.ecsDeploymentId)).map(targetOf)
  for (const portalId of new Set([before?.portalId, after.portalId])) {
    const request = portalId === undefined ? null : yield* tx.request(portalId)
    if (request !== null) targets.push(targetOf(request))
  }
  places.push(...(yield* reassignAll(tx, targets)))
  yield* refreshRunning(tx, places)
}

const FINAL_EVENTS = ['SERVICE_DEPLOYMENT_COMPLETED', 'SERVICE_DEPLOYMENT_FAILED']

/** Takes in an ECS Deployment State Change: it has no version, so the later time wins, then an end over a beginning. */
export function* applyRollout(tx: Transaction, rollout: RolloutRecord): Work<void> {
  const before = yield* tx.rollout(rollout.account, rollout.ecsDeploymentId)
  if (before !== null) {
    const isFinal = (record: RolloutRecord) => Number(FINAL_EVENTS.includes(record.eventName))
    const order =
      rollout.at - before.at ||
      isFinal(rollout) - isFinal(before) ||
      compareText(JSON.stringify(rollout), JSON.stringify(before))
    if (order <= 0) return
  }
  yield* tx.putRollout(rollout)
}

/** Takes in an ECS Service Action: a note, kept as it is. */
export function* applyServiceAction(tx: Transaction, action: ServiceActionRecord): Work<void> {
  yield* tx.putServiceAction(action)
}
