/** What happened on the platform in the last days, told as AWS tells it. */
import { createHash } from 'node:crypto'
import type { Environments } from '../src/domain/environment.ts'
import { createEcs, type Ecs, type Rollout, type ToldEvent } from './ecs-events.ts'
import type { PlatformImage } from './platform-images.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** The account of the platform's own registry, as its images are named in ECS. */
const ECR = '000000000000.dkr.ecr.eu-west-2.amazonaws.com'
/** A rollout that is watched takes two seconds. */
const FAST = 1 / 100

export interface Story {
  /** To the queue of ECR. */
  readonly ecr: readonly string[]
  /** To the queue of ECS, in the order of their sending. */
  readonly ecs: readonly string[]
  /** What the story goes on with while it is watched: see `Act`. */
  readonly acts: readonly Act[]
}

/** A deployment that somebody asks the portal for, and what ECS says then. */
export interface Act {
  readonly request: {
    readonly deploymentId: string
    readonly service: string
    readonly version: string
    readonly environment: string
    readonly instanceCount: number
    readonly user: { readonly id: string; readonly displayName: string }
  }
  /** The events that follow a request that was made at this time. */
  readonly events: (requestedAt: number) => readonly string[]
}

const inOrder = (events: readonly ToldEvent[]) =>
  events.toSorted((a, b) => a.at - b.at).map(({ event }) => JSON.stringify(event))

function pushes(images: readonly PlatformImage[], now: number): string[] {
  return images.map(({ repository, version, image }, index) => {
    const at = now - 7 * DAY + index * 5 * HOUR
    return JSON.stringify({
      version: '0',
      id: `push-${index}`,
      'detail-type': 'ECR Image Action',
      source: 'aws.ecr',
      account: '666666666',
      time: `${new Date(at).toISOString().slice(0, 19)}Z`,
      region: 'eu-west-2',
      resources: [],
      detail: {
        result: 'SUCCESS',
        'repository-name': repository,
        'image-digest': image.digest,
        'action-type': 'PUSH',
        'image-tag': version
      }
    })
  })
}

/** What shares the queues in real accounts: the first is none of our business, the others can never succeed. */
function noise(): string[] {
  return [
    JSON.stringify({
      id: 'scan',
      'detail-type': 'ECR Image Scan',
      source: 'aws.ecr',
      account: '666666666',
      detail: { 'scan-status': 'COMPLETE' }
    }),
    JSON.stringify({
      id: 'stranger',
      'detail-type': 'ECS Task State Change',
      source: 'aws.ecs',
      account: '999999999',
      detail: { taskArn: 'arn:aws:ecs:eu-west-2:999999999:task/one', lastStatus: 'RUNNING', containers: [] }
    }),
    'this is no JSON'
  ]
}

function history(ecs: Ecs, now: number): void {
  const ago = (days: number, hours = 0, minutes = 0) => now - days * DAY - hours * HOUR - minutes * MINUTE
  const deploy = (service: string, version: string, environment: string, at: number, more: Partial<Rollout> = {}) =>
    ecs.rollout({ service, version, environment, at, by: 'Ann Other', ...more })

  deploy('cdp-portal-frontend', '0.7.0', 'prod', ago(6, 4), { instances: 2 })
  deploy('cdp-portal-frontend', '0.8.0', 'dev', ago(6, 2))
  deploy('cdp-portal-frontend', '0.8.0', 'test', ago(6))
  deploy('cdp-portal-frontend', '0.8.0', 'prod', ago(5, 3), { instances: 2, by: 'Sam Doe' })
  deploy('cdp-portal-frontend', '0.9.0', 'dev', ago(3, 5))
  deploy('cdp-portal-frontend', '0.9.0', 'test', ago(3, 2))
  deploy('cdp-portal-frontend', '0.9.0', 'perf-test', ago(2, 20))
  ecs.scale({ service: 'cdp-portal-frontend', environment: 'prod', instances: 4, at: ago(2, 8) })
  ecs.scale({ service: 'cdp-portal-frontend', environment: 'prod', instances: 3, at: ago(1, 20) })

  deploy('cdp-portal-backend', '1.3.0', 'management', ago(6, 5))
  deploy('cdp-portal-backend', '1.3.0', 'test', ago(5, 22))
  deploy('cdp-portal-backend', '1.3.0', 'prod', ago(5, 20), { instances: 2 })
  deploy('cdp-portal-backend', '1.4.0', 'dev', ago(1, 4))

  for (const environment of ['test', 'perf-test']) deploy('cdp-user-service', '2.2.0', environment, ago(5, 18))
  deploy('cdp-user-service', '2.2.0', 'prod', ago(5, 12), { instances: 2 })
  ecs.runTask({
    service: 'cdp-user-service',
    version: '2.3.0',
    environment: 'dev',
    family: 'cdp-user-service-migrations',
    at: ago(1, 7)
  })
  deploy('cdp-user-service', '2.3.0', 'dev', ago(1, 6))
  deploy('cdp-user-service', '2.3.0', 'test', ago(1, 1))

  // 2.2.0 does not come up: in test the circuit breaker takes it back, in dev nobody has turned that on.
  deploy('forestry-permits-api', '2.1.0', 'dev', ago(5, 2))
  deploy('forestry-permits-api', '2.1.0', 'test', ago(5, 1), { instances: 2 })
  deploy('forestry-permits-api', '2.1.0', 'prod', ago(4, 20), { instances: 2 })
  deploy('forestry-permits-api', '2.2.0', 'test', ago(1, 3), { instances: 2, ends: 'rolled-back', by: 'Kim Lee' })
  deploy('forestry-permits-api', '2.2.0', 'dev', ago(0, 0, 20), { ends: 'crashing', by: 'Kim Lee' })

  // Ahead in test, far behind in prod.
  const sidecars = [{ name: 'otel-collector', image: `${ECR}/cdp-otel-collector:0.98.0` }]
  deploy('water-quality-service', '2.8.4', 'prod', ago(6, 1), { instances: 2, sidecars })
  for (const environment of ['dev', 'test', 'perf-test'])
    deploy('water-quality-service', '3.1.0', environment, ago(4, 4), { sidecars })
  deploy('water-quality-service', '3.2.0', 'test', ago(0, 9), { sidecars })

  // Half-way to 1.1.0 in perf-test; taken down in prod.
  deploy('grants-application-frontend', '1.0.0', 'perf-test', ago(4, 8))
  deploy('grants-application-frontend', '1.0.0', 'prod', ago(4, 7))
  deploy('grants-application-frontend', '1.1.0', 'dev', ago(3, 9))
  deploy('grants-application-frontend', '1.1.0', 'test', ago(3, 8))
  ecs.scale({ service: 'grants-application-frontend', environment: 'prod', instances: 0, at: ago(1, 22) })
  deploy('grants-application-frontend', '1.1.0', 'perf-test', ago(0, 0, 3), { ends: 'half-way' })

  deploy('bird-flu-notifications', '0.3.0', 'dev', ago(0, 16))
}

/** SQS promises no order, and may bring a message twice: the one-off task's events come last one first, and one comes again. */
function asSqsBrings(events: readonly string[]): string[] {
  const isOneOff = (event: string) => event.includes('"group":"family:')
  const [again] = events
  return [
    ...events.filter((event) => !isOneOff(event)),
    ...events.filter(isOneOff).reverse(),
    ...(again === undefined ? [] : [again])
  ]
}

/** Tells the story as of `now`, in milliseconds. */
export function tellStory(images: readonly PlatformImage[], environments: Environments, now: number): Story {
  const digests = new Map(images.map(({ repository, version, image }) => [`${repository}:${version}`, image.digest]))
  const imageOf = (repository: string, version: string) => {
    const name = `${repository}:${version}`
    const digest = digests.get(name)
    if (digest === undefined) throw new Error(`${name} was never pushed`)
    return { image: `${ECR}/${name}`, digest }
  }
  const ecs = createEcs({ environments, imageOf })
  history(ecs, now)
  const before = ecs.events.length

  const ask = (service: string, version: string, environment: string, instanceCount: number): Act['request'] => ({
    // Of its own for each run, as the portal makes it.
    deploymentId: createHash('sha256').update(`${service}/${environment}/${now}`).digest('hex').slice(0, 32),
    service,
    version,
    environment,
    instanceCount,
    user: { id: '62bb35d2-d4f2-4cf6-abd3-262d99727677', displayName: 'Sam Doe' }
  })
  const act = (request: Act['request'], rollout: Partial<Rollout>): Act => ({
    request,
    events(requestedAt) {
      const { service, version, environment, instanceCount: instances, deploymentId: portalId } = request
      const told = ecs.events.length
      ecs.rollout({ service, version, environment, at: requestedAt, instances, portalId, pace: FAST, ...rollout })
      return inOrder(ecs.events.slice(told))
    }
  })
  return {
    ecr: [...pushes(images, now), ...noise()],
    ecs: asSqsBrings(inOrder(ecs.events.slice(0, before))),
    acts: [
      act(ask('cdp-portal-frontend', '0.9.1', 'dev', 2), { by: 'Sam Doe' }),
      // Its link is lost: the request finds its deployment all the same.
      act(ask('cdp-portal-backend', '1.4.0', 'test', 1), {}),
      // Nothing has happened yet.
      { request: ask('cdp-user-service', '2.3.0', 'prod', 2), events: () => [] }
    ]
  }
}
