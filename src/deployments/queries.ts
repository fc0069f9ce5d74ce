/** What can be asked about deployments, as the API answers it. */
import type { Environments } from '../domain/environment.ts'
import { type PageRequest, pageWindow, totalPages } from '../domain/page.ts'
import { compareText } from '../domain/version.ts'
import type { DeploymentRecord, RequestRecord, RolloutRecord, RunningRecord, Store } from '../store/port.ts'
import { ECS_PREFIX } from './deployment.ts'
import { type HistoryEntry, historyOf } from './history.ts'
import {
  type DeploymentView,
  type RunningView,
  requestView,
  runningView,
  type SquashedView,
  squashedView,
  taskView
} from './record.ts'
import { runningRecord } from './running.ts'

/** How many tasks of one deployment are shown, the newest. */
export const INSTANCES_SHOWN = 500
/** How many actions of its service are shown with a deployment, the newest: ECS repeats a steady state every six hours. */
export const SERVICE_ACTIONS_SHOWN = 200

export interface DeploymentPage<T> {
  readonly deployments: T[]
  readonly page: number
  readonly pageSize: number
  readonly totalPages: number
}

/** A deployment with all that is known of it. */
export interface DeploymentDetail extends DeploymentView {
  /** Its tasks, newest first. */
  readonly instances: DeploymentView[]
  /** What happened when, oldest first. */
  readonly history: HistoryEntry[]
}

export interface DeploymentFilter {
  readonly environment?: string | undefined
}

export interface RunningFilter {
  readonly service?: string | undefined
  /** Milliseconds since 1970; null or absent is now. */
  readonly at?: number | null
}

export interface DeploymentQueries {
  /** One record per task of a known service, and requests that have no task yet: newest first. */
  page(filter: DeploymentFilter, page: PageRequest): Promise<DeploymentPage<DeploymentView>>
  /** One record per deployment and status. */
  squashedPage(filter: DeploymentFilter, page: PageRequest): Promise<DeploymentPage<SquashedView>>
  /**
   * The newest deployment or request that an id names: the portal's id, ECS's with or without `ecs-svc/`, the task
   * definition's ARN or the made one. Null where it names none.
   */
  named(id: string): Promise<DeploymentDetail | null>
  /** What runs, or ran, where: one record per service and environment with a live task, by service and promotion order. */
  running(filter: RunningFilter): Promise<RunningView[]>
}

export interface DeploymentQueriesDeps {
  readonly store: Store
  readonly environments: Environments
}

/** Every method throws StoreError, and nothing else. */
export function createDeploymentQueries({ store, environments }: DeploymentQueriesDeps): DeploymentQueries {
  async function pageOf<Row, View>(
    list: (filter: { environment?: string }, page: { offset: number; limit: number }) => Promise<Rows<Row>>,
    view: (row: Row) => View,
    { environment }: DeploymentFilter,
    page: PageRequest
  ): Promise<DeploymentPage<View>> {
    const { rows, total } = await list(environment === undefined ? {} : { environment }, pageWindow(page))
    return {
      deployments: rows.map(view),
      page: page.page,
      pageSize: page.size,
      totalPages: totalPages(total, page)
    }
  }

  /** The request that an id names: its own, or the ECS one that a link gave it. */
  async function requestNamed(id: string): Promise<RequestRecord | null> {
    const own = await store.requestNamed(id)
    if (own !== null) return own
    const links = await store.linksOfEcsDeployment(id.startsWith(ECS_PREFIX) ? id : `${ECS_PREFIX}${id}`)
    for (const { portalId } of links.toSorted((a, b) => b.at - a.at)) {
      const request = await store.requestNamed(portalId)
      if (request !== null) return request
    }
    return null
  }

  async function deploymentDetail(deployment: DeploymentRecord): Promise<DeploymentDetail | null> {
    const { account, ecsDeploymentId, portalId } = deployment
    const tasks = await store.tasksOfDeployment(deployment.key, INSTANCES_SHOWN)
    const [newest] = tasks
    // Its last task was taken from it between the two reads.
    if (newest === undefined) return null
    const request = portalId === null ? null : await store.requestNamed(portalId)
    const rollout = ecsDeploymentId === null ? null : await store.rolloutOf(account, ecsDeploymentId)
    const history = historyOf({
      request,
      rollouts: rollout === null ? [] : [rollout],
      actions: await store.serviceActionsOf(deployment, SERVICE_ACTIONS_SHOWN),
      tasks
    })
    const instances = tasks.map((task) => taskView(task, deployment))
    return { ...taskView(newest, deployment), instances, history }
  }

  async function requestDetail(request: RequestRecord): Promise<DeploymentDetail> {
    const links = await store.linksOf(request.deploymentId)
    const rollouts: RolloutRecord[] = []
    for (const { account, ecsDeploymentId } of links) {
      const rollout = await store.rolloutOf(account, ecsDeploymentId)
      if (rollout !== null) rollouts.push(rollout)
    }
    const history = historyOf({ request, rollouts, actions: [], tasks: [] })
    return { ...requestView(request), instances: [], history }
  }

  async function runningAt(at: number, service: string | undefined): Promise<readonly RunningRecord[]> {
    const live = await store.tasksLiveAt(at, service)
    const places = Map.groupBy(live, ({ task }) => JSON.stringify([task.environment, task.service]))
    return [...places.values()].map((tasks) => runningRecord(tasks, at)).filter((record) => record !== null)
  }

  function byServiceAndPromotion(a: RunningRecord, b: RunningRecord): number {
    return (
      compareText(a.service, b.service) ||
      environments.rank(a.environment) - environments.rank(b.environment) ||
      compareText(a.environment, b.environment)
    )
  }

  return {
    page: (filter, page) =>
      pageOf(
        store.deploymentRows,
        (row) => (row.kind === 'request' ? requestView(row.request) : taskView(row.task, row.deployment)),
        filter,
        page
      ),
    squashedPage: (filter, page) => pageOf(store.squashedRows, squashedView, filter, page),
    async named(id) {
      const deployment = await store.deploymentNamed(id)
      const request = await requestNamed(id)
      // A started request is shown by its deployment's tasks. Where an id names both one of another request's deployments and
      // a request that waits, the newer one is meant.
      const waits = request !== null && !request.started
      if (deployment !== null && !(waits && request.requestedAt > deployment.begunAt)) {
        const detail = await deploymentDetail(deployment)
        if (detail !== null) return detail
      }
      return request === null ? null : requestDetail(request)
    },
    async running({ service, at = null }) {
      const records = at === null ? await store.running(service) : await runningAt(at, service)
      return records.toSorted(byServiceAndPromotion).map((record) => runningView(record, at))
    }
  }
}

interface Rows<T> {
  readonly rows: readonly T[]
  readonly total: number
}
