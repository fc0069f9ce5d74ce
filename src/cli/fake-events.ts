/** Events as AWS sends them, for development: small, and true in everything that they say. */
import { createHash, randomInt, randomUUID } from 'node:crypto'
import type { Environments } from '../domain/environment.ts'

export interface FakeEventOptions {
  readonly region: string
  /** Milliseconds. */
  readonly now: number
}

/** The push of a tag to ECR. Its digest is left out: nobody asked the registry. */
export function pushEvent(repository: string, tag: string, { region, now }: FakeEventOptions): object {
  return {
    version: '0',
    id: randomUUID(),
    'detail-type': 'ECR Image Action',
    source: 'aws.ecr',
    time: new Date(now).toISOString(),
    region,
    resources: [],
    detail: { result: 'SUCCESS', 'action-type': 'PUSH', 'repository-name': repository, 'image-tag': tag }
  }
}

export interface FakeDeployment extends FakeEventOptions {
  readonly environments: Environments
  /** The host that the image's name begins with. */
  readonly registryHost: string
  /** The image's repository; the service that it is, its label says. */
  readonly repository: string
  readonly tag: string
}

/** The task's version by the time it runs: PROVISIONING and PENDING came before. */
const RUNNING_VERSION = 3

/**
 * One task that runs in each environment, each of a deployment of its own.
 *
 * A real deployment of the next version would stop the tasks of the last one, which only who remembers those could tell.
 * So a service has one task ARN in each environment, for ever: records with one task ARN follow each other, and the
 * newest is the one that lives. Whatever the last call sent is replaced, and nothing is to be remembered.
 */
export function deploymentEvents(deployment: FakeDeployment): object[] {
  const { environments, registryHost, repository, tag, region, now } = deployment
  const name = repository.replaceAll('/', '-')
  const time = new Date(now).toISOString()
  return environments.names.map((environment) => {
    const account = environments.accountOf(environment) ?? ''
    const arn = `arn:aws:ecs:${region}:${account}`
    const cluster = `${environment}-fake`
    const taskId = createHash('sha256')
      .update(JSON.stringify([account, repository]))
      .digest('hex')
      .slice(0, 32)
    const taskArn = `${arn}:task/${cluster}/${taskId}`
    return {
      version: '0',
      id: randomUUID(),
      'detail-type': 'ECS Task State Change',
      source: 'aws.ecs',
      account,
      time,
      region,
      resources: [taskArn],
      detail: {
        taskArn,
        clusterArn: `${arn}:cluster/${cluster}`,
        // Task definitions are numbered; the seconds are a number that grows with each call.
        taskDefinitionArn: `${arn}:task-definition/${name}:${Math.floor(now / 1000)}`,
        group: `service:${name}`,
        startedBy: `ecs-svc/${deploymentNumber()}`,
        launchType: 'FARGATE',
        cpu: '1024',
        memory: '2048',
        createdAt: time,
        startedAt: time,
        updatedAt: time,
        desiredStatus: 'RUNNING',
        lastStatus: 'RUNNING',
        version: RUNNING_VERSION,
        containers: [{ name, image: `${registryHost}/${repository}:${tag}`, lastStatus: 'RUNNING' }]
      }
    }
  })
}

/** Nineteen figures, as ECS makes them. */
function deploymentNumber(): string {
  return `${randomInt(1, 10)}${String(randomInt(0, 1e9)).padStart(9, '0')}${String(randomInt(0, 1e9)).padStart(9, '0')}`
}
