/** A small ECS, which tells all that happens in it as ECS does: tasks, deployments, services, and the pipeline's own event. */
import { createHash } from 'node:crypto'
import type { Environments } from '../src/domain/environment.ts'

/** An event, and when it happened in milliseconds: events are sent in that order. */
export interface ToldEvent {
  readonly at: number
  readonly event: object
}

/** Something that runs besides the service in each of its tasks. */
export interface Sidecar {
  readonly name: string
  readonly image: string
}

export interface Rollout {
  readonly environment: string
  readonly service: string
  readonly version: string
  /** When the pipeline begins, in milliseconds. */
  readonly at: number
  readonly instances?: number
  /** Who asked for it; without, the pipeline's word is lost on its way. */
  readonly by?: string
  /** The portal's id of the deployment, which the pipeline hands on. */
  readonly portalId?: string
  readonly sidecars?: readonly Sidecar[]
  /** How fast time goes: 1 is a rollout of about three minutes. */
  readonly pace?: number
  /** How far it came: its tasks crash, or it is still under way. */
  readonly ends?: 'completed' | 'crashing' | 'rolled-back' | 'half-way'
}

export interface Ecs {
  rollout(rollout: Rollout): void
  /** Starts or stops tasks of the deployment that runs, as the service's scheduler does. */
  scale(target: { environment: string; service: string; instances: number; at: number }): void
  /** Runs one task that no service asked for, to its end. */
  runTask(task: { environment: string; service: string; version: string; family: string; at: number }): void
  /** All that happened, in no particular order. */
  readonly events: readonly ToldEvent[]
}

export interface EcsOptions {
  readonly environments: Environments
  /** What a task names an image by, and the digest that ECS pulled. */
  readonly imageOf: (repository: string, version: string) => { readonly image: string; readonly digest: string }
}

const REGION = 'eu-west-2'
const SECOND = 1000
const CRASHES = 4
const EXIT_CODE = 139
const STARTING = [
  ['PROVISIONING', 0],
  ['PENDING', 9],
  ['ACTIVATING', 24],
  ['RUNNING', 31]
] as const
const STOPPING = [
  ['DEACTIVATING', 0],
  ['STOPPING', 6],
  ['DEPROVISIONING', 36],
  ['STOPPED', 51]
] as const

interface Deployment {
  readonly id: string
  readonly environment: string
  readonly account: string
  readonly service: string
  readonly version: string
  readonly taskDefinition: string
  readonly sidecars: readonly Sidecar[]
}

interface Task {
  readonly deployment: Deployment
  readonly arn: string
  readonly group: string
  readonly startedBy: string
  readonly createdAt: number
  startedAt: number | null
  /** `detail.version`: how many events the task has had. */
  version: number
}

const iso = (at: number) => new Date(at).toISOString()

/** Text that looks made up, and is the same for the same words. */
function hash(...words: readonly (string | number)[]): string {
  return createHash('sha256').update(JSON.stringify(words)).digest('hex')
}

/** Nineteen figures, as ECS numbers its deployments. */
function figures(...words: readonly (string | number)[]): string {
  return BigInt(`0x${hash(...words).slice(0, 16)}`)
    .toString()
    .padStart(19, '4')
    .slice(0, 19)
}

export function createEcs({ environments, imageOf }: EcsOptions): Ecs {
  const events: ToldEvent[] = []
  const tasks = new Map<string, Task[]>()
  const revisions = new Map<string, number>()
  let made = 0

  const clusterOf = (environment: string) => `${environment}-ecs-protected`
  const arn = (account: string, rest: string) => `arn:aws:ecs:${REGION}:${account}:${rest}`
  const placeOf = (environment: string, service: string) => `${environment}/${service}`
  const uuid = (...words: readonly (string | number)[]) =>
    hash(...words).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5')

  function tell(at: number, account: string, kind: string, resource: string, detail: object, more: object = {}): void {
    const id = uuid('event', events.length, at, resource)
    const source = kind.startsWith('ECS Lambda') ? 'aws.lambda' : 'aws.ecs'
    // EventBridge gives times to the second; what ECS says itself is more exact.
    const time = `${iso(at).slice(0, 19)}Z`
    const event = {
      version: '0',
      id,
      'detail-type': kind,
      source,
      account,
      time,
      region: REGION,
      resources: [resource],
      detail,
      ...more
    }
    events.push({ at, event })
  }

  function begin({ environment, service, version, sidecars = [] }: Rollout): Deployment {
    const account = environments.accountOf(environment)
    if (account === null) throw new Error(`there is no environment ${environment}`)
    const place = placeOf(environment, service)
    const revision = (revisions.get(place) ?? 0) + 1
    revisions.set(place, revision)
    made += 1
    const id = `ecs-svc/${figures('deployment', made)}`
    const taskDefinition = arn(account, `task-definition/${service}:${revision}`)
    return { id, environment, account, service, version, taskDefinition, sidecars }
  }

  function newTask(deployment: Deployment, createdAt: number, more: { group?: string; startedBy?: string } = {}): Task {
    const { account, environment, service, id } = deployment
    made += 1
    const taskArn = arn(account, `task/${clusterOf(environment)}/${hash('task', made).slice(0, 32)}`)
    const group = more.group ?? `service:${service}`
    return { deployment, arn: taskArn, group, startedBy: more.startedBy ?? id, createdAt, startedAt: null, version: 0 }
  }

  function tellTask(task: Task, status: string, at: number, end: object = {}, container: object = {}): void {
    const { deployment, createdAt } = task
    const { account, environment, service, version, sidecars } = deployment
    task.version += 1
    if (status === 'RUNNING') task.startedAt ??= at
    const isEnding = STOPPING.some(([ending]) => ending === status)
    const containerStatus =
      status === 'STOPPED' || status === 'DEPROVISIONING' ? 'STOPPED' : isEnding ? 'RUNNING' : status
    const { image, digest } = imageOf(service, version)
    const besides = [
      { name: `${service}_log_router`, image: 'public.ecr.aws/aws-observability/aws-for-fluent-bit:stable' },
      ...sidecars
    ]
    tell(at, account, 'ECS Task State Change', task.arn, {
      taskArn: task.arn,
      clusterArn: arn(account, `cluster/${clusterOf(environment)}`),
      taskDefinitionArn: deployment.taskDefinition,
      group: task.group,
      startedBy: task.startedBy,
      launchType: 'FARGATE',
      cpu: '1024',
      memory: '2048',
      createdAt: iso(createdAt),
      ...(task.startedAt === null ? {} : { startedAt: iso(task.startedAt) }),
      updatedAt: iso(at),
      desiredStatus: isEnding ? 'STOPPED' : 'RUNNING',
      lastStatus: status,
      version: task.version,
      ...end,
      containers: [
        { name: service, image, imageDigest: digest, lastStatus: containerStatus, ...container },
        ...besides.map((sidecar) => ({ ...sidecar, lastStatus: containerStatus }))
      ]
    })
  }

  function startTask(task: Task, pace: number, until: string = 'RUNNING'): void {
    for (const [status, after] of STARTING) {
      tellTask(task, status, task.createdAt + after * SECOND * pace)
      if (status === until) return
    }
  }

  function stopTask(
    task: Task,
    at: number,
    pace: number,
    { stopCode, reason, exitCode = 0 }: { stopCode: string; reason: string; exitCode?: number }
  ): void {
    for (const [status, after] of STOPPING) {
      const now = at + after * SECOND * pace
      const end = { stopCode, stoppedReason: reason, stoppingAt: iso(at) }
      if (status === 'STOPPED') tellTask(task, status, now, { ...end, stoppedAt: iso(now) }, { exitCode })
      else tellTask(task, status, now, end)
    }
  }

  function tellService(deployment: Deployment, kind: string, at: number, detail: object): void {
    const { account, environment, service } = deployment
    tell(at, account, kind, arn(account, `service/${clusterOf(environment)}/${service}`), detail)
  }

  function tellRollout(deployment: Deployment, at: number, name: string, reason: string): void {
    tellService(deployment, 'ECS Deployment State Change', at, {
      eventType: name.endsWith('FAILED') ? 'ERROR' : 'INFO',
      eventName: `SERVICE_DEPLOYMENT_${name}`,
      deploymentId: deployment.id,
      updatedAt: iso(at),
      reason
    })
  }

  function complete(deployment: Deployment, at: number): void {
    tellRollout(deployment, at, 'COMPLETED', `ECS deployment ${deployment.id} completed.`)
    tellService(deployment, 'ECS Service Action', at, {
      eventType: 'INFO',
      eventName: 'SERVICE_STEADY_STATE',
      createdAt: iso(at)
    })
  }

  /** Tasks that start, crash, and are started anew. */
  function crash(deployment: Deployment, at: number, pace: number): void {
    const reason = 'Essential container in task exited'
    for (let attempt = 0; attempt < CRASHES; attempt++) {
      const createdAt = at + attempt * 120 * SECOND * pace
      const task = newTask(deployment, createdAt)
      startTask(task, pace)
      stopTask(task, createdAt + 50 * SECOND * pace, pace, {
        stopCode: 'EssentialContainerExited',
        reason,
        exitCode: EXIT_CODE
      })
    }
    const failedAt = at + CRASHES * 120 * SECOND * pace
    tellService(deployment, 'ECS Service Action', failedAt, {
      eventType: 'WARN',
      eventName: 'SERVICE_TASK_START_IMPAIRED',
      createdAt: iso(failedAt)
    })
  }

  return {
    events,

    rollout(rollout) {
      const { environment, service, at, instances = 1, by, portalId, pace = 1, ends = 'completed' } = rollout
      const place = placeOf(environment, service)
      const old = tasks.get(place) ?? []
      const deployment = begin(rollout)
      const after = (seconds: number) => at + seconds * SECOND * pace
      tellRollout(deployment, at, 'IN_PROGRESS', `ECS deployment ${deployment.id} in progress.`)
      if (by !== undefined) {
        tell(
          after(1),
          deployment.account,
          'ECS Lambda Deployment Updated',
          arn(deployment.account, `service/${clusterOf(environment)}/${service}`),
          {
            eventType: 'INFO',
            eventName: 'IN_PROGRESS',
            deploymentId: deployment.id,
            reason: 'Deployment successfully updated'
          },
          { cdp_deployment_id: portalId ?? uuid('portal', deployment.id), deployed_by: by }
        )
      }
      const failedAt = CRASHES * 120 + 5
      switch (ends) {
        case 'crashing':
          crash(deployment, after(3), pace)
          startTask(newTask(deployment, after(failedAt)), pace, 'PENDING')
          return
        case 'rolled-back': {
          crash(deployment, after(3), pace)
          const back = old[0]?.deployment
          if (back === undefined) throw new Error(`${place} has nothing to roll back to`)
          const reason = `ECS deployment circuit breaker: tasks failed to start, rolling back to deploymentId ${back.id}`
          tellRollout(deployment, after(failedAt), 'FAILED', reason)
          complete(back, after(failedAt + 20))
          return
        }
        case 'half-way':
          startTask(newTask(deployment, after(3)), pace)
          startTask(newTask(deployment, after(40)), pace, 'PENDING')
          return
        case 'completed': {
          const started = Array.from({ length: instances }, (_, index) => newTask(deployment, after(3 + index)))
          for (const task of started) startTask(task, pace)
          for (const task of old) {
            const reason = `Scaling activity initiated by (deployment ${task.deployment.id})`
            stopTask(task, after(60), pace, { stopCode: 'ServiceSchedulerInitiated', reason })
          }
          complete(deployment, after(170))
          tasks.set(place, started)
        }
      }
    },

    scale({ environment, service, instances, at }) {
      const place = placeOf(environment, service)
      const running = tasks.get(place) ?? []
      const [first] = running
      if (first === undefined) throw new Error(`${place} does not run`)
      const added = Array.from({ length: Math.max(0, instances - running.length) }, () => newTask(first.deployment, at))
      for (const task of added) startTask(task, 1)
      for (const task of running.slice(instances)) {
        const reason = `Scaling activity initiated by (deployment ${first.deployment.id})`
        stopTask(task, at, 1, { stopCode: 'ServiceSchedulerInitiated', reason })
      }
      tasks.set(place, [...running.slice(0, instances), ...added])
    },

    runTask({ environment, service, version, family, at }) {
      const deployment = begin({ environment, service, version, at })
      const task = newTask(deployment, at, { group: `family:${family}`, startedBy: 'pipeline' })
      startTask(task, 1)
      stopTask(task, at + 90 * SECOND, 1, {
        stopCode: 'EssentialContainerExited',
        reason: 'Essential container in task exited'
      })
    }
  }
}
