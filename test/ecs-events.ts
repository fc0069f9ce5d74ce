/** ECS's events as ECS sends them, for tests, benchmarks and soaks. */

export interface TaskOfStory {
  readonly account: string
  readonly service: string
  readonly version: string
  /** The ECS deployment's number. */
  readonly deployment: number
  readonly task: number
  /** When it was created, in milliseconds. */
  readonly createdAt: number
}

const LIFE = [
  'PROVISIONING',
  'PENDING',
  'ACTIVATING',
  'RUNNING',
  'DEACTIVATING',
  'STOPPING',
  'DEPROVISIONING',
  'STOPPED'
] as const
const STEP_MS = 5_000
const iso = (time: number) => new Date(time).toISOString()

/** The Task State Changes of one task, from PROVISIONING until the status `last`; `stopsAt` is when it begins to stop. */
export function taskEvents(
  story: TaskOfStory,
  last: (typeof LIFE)[number],
  stopsAt = story.createdAt + 60_000
): object[] {
  const { account, service, version, deployment, task, createdAt } = story
  const arn = (kind: string, rest: string) => `arn:aws:ecs:eu-west-2:${account}:${kind}/${rest}`
  const taskArn = arn('task', `cluster/${service}-${deployment}-${task}`)
  const running = LIFE.indexOf('RUNNING')
  return LIFE.slice(0, LIFE.indexOf(last) + 1).map((status, index) => {
    const at = index <= running ? createdAt + index * STEP_MS : stopsAt + (index - running - 1) * STEP_MS
    const isStopped = status === 'STOPPED'
    return {
      version: '0',
      id: `${service}-${account}-${deployment}-${task}-${index}`,
      'detail-type': 'ECS Task State Change',
      source: 'aws.ecs',
      account,
      time: iso(at),
      region: 'eu-west-2',
      resources: [taskArn],
      detail: {
        taskArn,
        clusterArn: arn('cluster', 'cluster'),
        taskDefinitionArn: arn('task-definition', `${service}:${deployment}`),
        group: `service:${service}`,
        startedBy: `ecs-svc/${account}${String(deployment).padStart(8, '0')}`,
        cpu: '1024',
        memory: '2048',
        createdAt: iso(createdAt),
        desiredStatus: index > running ? 'STOPPED' : 'RUNNING',
        lastStatus: status,
        version: index + 1,
        updatedAt: iso(at),
        ...(index >= running ? { startedAt: iso(createdAt + running * STEP_MS) } : {}),
        ...(isStopped
          ? { stoppedAt: iso(at), stopCode: 'ServiceSchedulerInitiated', stoppedReason: 'Scaling activity' }
          : {}),
        containers: [
          {
            name: service,
            image: `000000000000.dkr.ecr.eu-west-2.amazonaws.com/${service}:${version}`,
            lastStatus: isStopped ? 'STOPPED' : status
          },
          { name: `${service}_log_router`, image: 'public.example/fluent-bit:latest', lastStatus: status }
        ]
      }
    }
  })
}
