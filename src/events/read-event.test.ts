import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digest } from '../../test/contract/records.ts'
import { createEnvironments } from '../domain/environment.ts'
import type { Store, TaskRecord } from '../store/port.ts'
import { createSqliteStore } from '../store/sqlite/sqlite.ts'
import { type ReadingOptions, type ReadMessage, readMessage } from './read-event.ts'

const SENT = Date.UTC(2026, 2, 2, 12)
const ACCOUNT = '333333333'
const options: ReadingOptions = {
  environments: createEnvironments([
    [ACCOUNT, 'dev'],
    ['444444444', 'test']
  ]),
  containersToIgnore: ['log_router', 'ssl']
}

let store: Store
beforeEach(() => {
  store = createSqliteStore(':memory:')
})
afterEach(() => store.close())

let messages = 0
function read(event: object): ReadMessage {
  const body = JSON.stringify(event)
  return readMessage('ecs', { messageId: `message-${messages++}`, sentAt: SENT, body }, options)
}

/** What became of an event, and why. */
function outcome(event: object): readonly [string, string | null] {
  const { reading } = read(event)
  return [reading.outcome, reading.outcome === 'done' ? reading.note : reading.reason]
}

async function take(...events: readonly object[]): Promise<void> {
  for (const event of events) {
    const { reading } = read(event)
    if (reading.outcome !== 'done') throw new Error(reading.reason)
    await store.transact(reading.apply)
  }
}

const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../test/fixtures/events/${name}.json`, import.meta.url), 'utf8')) as object

const container = (given: object = {}) => ({
  name: 'orders',
  image: 'host.example/orders:1.0.0',
  lastStatus: 'RUNNING',
  ...given
})
const taskEvent = (detail: object = {}, given: object = {}) => ({
  'detail-type': 'ECS Task State Change',
  source: 'aws.ecs',
  account: ACCOUNT,
  time: '2026-03-02T09:15:30Z',
  resources: ['arn:task/resource'],
  ...given,
  detail: {
    taskArn: 'arn:task/1',
    taskDefinitionArn: 'definition:1',
    lastStatus: 'RUNNING',
    containers: [container()],
    ...detail
  }
})

const tasksOf = (repository: string, tag: string, ...digests: readonly string[]) =>
  store.transact((tx) => tx.tasksOfImage(repository, tag, digests))

async function onlyTask(repository = 'orders', tag = '1.0.0'): Promise<TaskRecord> {
  const [task, ...others] = await tasksOf(repository, tag)
  if (task === undefined) throw new Error('no task')
  expect(others).toEqual([])
  return task
}

describe('an ECS Task State Change', () => {
  it('as ECS sends it', async () => {
    await take(fixture('ecs-task-stopped'))
    expect(await onlyTask('cdp-portal-frontend', '0.1.0')).toMatchObject({
      account: ACCOUNT,
      environment: 'dev',
      task: 'arn:aws:ecs:eu-west-2:333333333:task/dev-ecs-public/3f2c9e5b7a6d4d1e8a90b1c2d3e4f506',
      taskDefinition: 'arn:aws:ecs:eu-west-2:333333333:task-definition/cdp-portal-frontend:41',
      startedBy: 'ecs-svc/8142337706195823441',
      group: 'service:cdp-portal-frontend',
      image: '094954420758.dkr.ecr.eu-west-2.amazonaws.com/cdp-portal-frontend:0.1.0',
      cpu: '1024',
      memory: '2048',
      status: 'STOPPED',
      stopCode: 'EssentialContainerExited',
      stoppedReason: 'Essential container in task exited',
      createdAt: Date.UTC(2026, 2, 2, 9, 15, 1, 120),
      startedAt: Date.UTC(2026, 2, 2, 9, 15, 28, 4),
      stoppedAt: Date.UTC(2026, 2, 2, 11, 40, 6, 550),
      latest: { version: 6, at: Date.UTC(2026, 2, 2, 11, 40, 7), time: Date.UTC(2026, 2, 2, 11, 40, 7) }
    })
    expect(await tasksOf('cdp-fluent-bit', 'latest')).toEqual([])
  })

  it('needs no more than a status, containers and something that names the task', async () => {
    const least = { account: ACCOUNT, detail: { lastStatus: 'running', containers: [{ image: 'orders:1.0.0' }] } }
    await take({ ...least, 'detail-type': 'ECS Task State Change', resources: ['arn:only'] })
    expect(await onlyTask()).toMatchObject({
      task: 'arn:only',
      taskDefinition: null,
      startedBy: null,
      status: 'RUNNING',
      createdAt: SENT,
      latest: { version: 0, at: SENT, time: SENT }
    })
  })

  it('is known by its detail where it does not say what it is', () => {
    expect(outcome({ ...taskEvent(), 'detail-type': undefined })[0]).toBe('done')
    expect(outcome({ ...taskEvent(), 'detail-type': '' })[0]).toBe('done')
  })

  it('names its task by its ARN, else by the first resource, else by its task definition', async () => {
    await take(taskEvent(), taskEvent({ taskArn: undefined }), taskEvent({ taskArn: null }, { resources: [] }))
    expect((await tasksOf('orders', '1.0.0')).map(({ task }) => task).sort()).toEqual([
      'arn:task/1',
      'arn:task/resource',
      'definition:1'
    ])
  })

  it('takes the time of the change before the time of the event', async () => {
    await take(taskEvent({ updatedAt: '2026-03-02T09:15:29.500Z' }))
    expect((await onlyTask()).latest).toMatchObject({
      at: Date.UTC(2026, 2, 2, 9, 15, 29, 500),
      time: Date.UTC(2026, 2, 2, 9, 15, 30)
    })
  })

  it.each([
    [
      'from an unknown account',
      taskEvent({}, { account: '999999999' }),
      'unknown account 999999999: it is not in ENVIRONMENTS'
    ],
    ['from no account', taskEvent({}, { account: undefined }), 'the event names no account'],
    [
      'of no task',
      taskEvent({ taskArn: '', taskDefinitionArn: undefined }, { resources: [] }),
      'the event names no task: no taskArn, resources or taskDefinitionArn'
    ],
    [
      'in no status',
      taskEvent({ lastStatus: undefined }),
      expect.stringMatching(/^not a task state change: lastStatus: /)
    ],
    [
      'in a status that ECS does not have',
      taskEvent({ lastStatus: 'DANCING' }),
      'lastStatus DANCING is no status of a task'
    ],
    [
      'in the status of a prototype',
      taskEvent({ lastStatus: 'constructor' }),
      'lastStatus CONSTRUCTOR is no status of a task'
    ],
    [
      'without containers',
      taskEvent({ containers: undefined }),
      expect.stringMatching(/^not a task state change: containers: /)
    ],
    [
      'of an image that is none',
      taskEvent({ containers: [container({ image: 'NO IMAGE' })] }),
      "no container's image can be read: NO IMAGE"
    ],
    [
      'without an image',
      taskEvent({ containers: [container({ image: undefined })] }),
      "no container's image can be read: no image for orders"
    ]
  ])('%s is rejected', (_, event, reason) => {
    expect(outcome(event)).toEqual(['rejected', reason])
  })

  it('of nothing but sidecars is ignored, by their names and with something_ before these', async () => {
    const sidecars = ['ssl', 'orders_ssl', 'a_log_router'].map((name) => container({ name }))
    expect(outcome(taskEvent({ containers: sidecars }))).toEqual([
      'ignored',
      'no container but those in CONTAINERS_TO_IGNORE'
    ])
    expect(outcome(taskEvent({ containers: [] }))[0]).toBe('ignored')
    for (const name of ['myssl', 'ssl_orders', 'SSL', '', null]) {
      expect(outcome(taskEvent({ containers: [...sidecars, container({ name })] }))[0]).toBe('done')
    }
  })

  it('with one image that is none says so, and takes the others in', async () => {
    const event = taskEvent({ containers: [container(), container({ name: 'odd', image: 'NO IMAGE' })] })
    expect(outcome(event)).toEqual(['done', 'left out, an image that cannot be read: NO IMAGE'])
    await take(event)
    await onlyTask()
  })
})

describe('an image in a task', () => {
  const SHA = digest(1)
  it.each([
    ['094954420758.dkr.ecr.eu-west-2.amazonaws.com/orders:1.0.0', 'orders', '1.0.0', null],
    ['host.example/team/orders:1.0.0', 'team/orders', '1.0.0', null],
    ['host.example:5000/orders:1.0.0', 'orders', '1.0.0', null],
    ['localhost/orders:1.0.0', 'orders', '1.0.0', null],
    ['team/orders:1.0.0', 'team/orders', '1.0.0', null],
    ['orders:1.0.0', 'orders', '1.0.0', null],
    ['orders', 'orders', null, null],
    [`host.example/orders@${SHA}`, 'orders', null, SHA],
    [`host.example:5000/team/orders:1.0.0@${SHA}`, 'team/orders', '1.0.0', SHA]
  ])('%s', async (image, repository, tag, pinned) => {
    await take(taskEvent({ containers: [container({ image, imageDigest: digest(7) })] }))
    const [task] = await tasksOf(repository, 'none', digest(7))
    expect(task).toMatchObject({ repository, tag, digest: pinned, imageDigest: digest(7), image })
  })

  it('has no digest that is none', async () => {
    for (const imageDigest of ['sha256:abc', 'latest', '', 5, null]) {
      await take(taskEvent({ containers: [container({ imageDigest })] }))
      expect((await onlyTask()).imageDigest).toBeNull()
    }
  })
})

describe('several containers of one task', () => {
  it('with one repository are one record, which stops when all of them have', async () => {
    const both = (first: string, second: string, version: number) =>
      taskEvent({
        version,
        containers: [
          container({ name: 'a', lastStatus: first, exitCode: first === 'STOPPED' ? 0 : undefined }),
          container({
            name: 'b',
            lastStatus: second,
            exitCode: second === 'STOPPED' ? 137 : undefined,
            reason: 'OutOfMemory'
          })
        ]
      })
    await take(both('RUNNING', 'RUNNING', 1))
    expect(await onlyTask()).toMatchObject({ status: 'RUNNING', exitCode: null })
    await take(both('RUNNING', 'STOPPED', 2))
    expect(await onlyTask()).toMatchObject({ status: 'RUNNING', exitCode: 137, containerReason: 'OutOfMemory' })
    await take(both('STOPPED', 'STOPPED', 3))
    expect(await onlyTask()).toMatchObject({ status: 'STOPPED', exitCode: 137, containerReason: 'OutOfMemory' })
  })

  it('with several repositories are a record each, stopped where its own containers are', async () => {
    await take(
      taskEvent({
        containers: [
          container({ lastStatus: 'STOPPED' }),
          container({ name: 'b', image: 'payments:2.0.0', lastStatus: 'PENDING' })
        ]
      })
    )
    expect((await onlyTask()).status).toBe('STOPPED')
    // The task's status, not the container's, wherever that is not stopped.
    expect((await onlyTask('payments', '2.0.0')).status).toBe('RUNNING')
  })

  it('with one repository and several tags speak by one that is not stopped, then by the highest tag, in any order', async () => {
    const three = [
      container({ name: 'a', image: 'orders:9.0.0' }),
      container({ name: 'b', image: 'orders:10.0.0' }),
      container({ name: 'c', image: 'orders:11.0.0', lastStatus: 'STOPPED' })
    ]
    for (const containers of [three, three.toReversed()]) {
      await take(taskEvent({ taskArn: `arn:${containers[0]?.name}`, containers }))
      expect(await tasksOf('orders', '10.0.0')).toHaveLength(containers === three ? 1 : 2)
    }
    expect(await tasksOf('orders', '9.0.0')).toEqual([])
    expect(await tasksOf('orders', '11.0.0')).toEqual([])
  })

  it('are one record whatever name a sender makes up for its container', async () => {
    await take(
      taskEvent({ containers: [container({ name: 'x' })] }),
      taskEvent({ containers: [container({ name: 'y' })] })
    )
    await onlyTask()
  })
})

describe('a task with odd values', () => {
  it.each([
    ['a version beyond all bounds', { version: 1e308 }],
    ['a negative version', { version: -5 }],
    ['times before time', { createdAt: '0001-01-01T00:00:00Z', updatedAt: '0000-01-01T00:00:00Z' }],
    ['times at the end of time', { createdAt: '9999-12-31T23:59:59.999Z', stoppedAt: '9999-12-31T23:59:59-23:59' }],
    ['times that are none', { createdAt: '+010000-01-01T00:00:00Z', startedAt: 'yesterday', stoppedAt: 12 }],
    [
      'keys of a prototype',
      JSON.parse('{"__proto__": {"lastStatus": "STOPPED"}, "constructor": 1, "toString": null}') as object
    ],
    ['texts with a NUL and half a character', { group: 'service:\u0000', stoppedReason: '\ud800', cpu: 1024 }],
    ['a text of 100,000 characters', { stoppedReason: 'x'.repeat(100_000) }]
  ])('is taken in: %s', async (_, detail) => {
    await take(
      taskEvent({ lastStatus: 'RUNNING', ...detail }),
      taskEvent({ lastStatus: 'STOPPED', ...detail, version: 1e308 })
    )
    const task = await onlyTask()
    expect(task.status).toBe('STOPPED')
    for (const time of [task.createdAt, task.stoppedAt]) expect(Number.isSafeInteger(time)).toBe(true)
  })

  it('is rejected where a text is an object with a length that is no number', () => {
    const odd = { length: { toString: null } }
    expect(outcome(taskEvent({ lastStatus: odd }))[0]).toBe('rejected')
    for (const kind of ['ECS Service Action', 'ECS Deployment State Change', 'ECR Image Action']) {
      const detail = { eventName: odd, result: odd, 'action-type': odd, 'repository-name': odd }
      expect(outcome({ ...taskEvent({}), 'detail-type': kind, detail })[0]).toBe('rejected')
    }
  })

  it('is rejected, not half taken in, where a number is none', () => {
    expect(outcome(taskEvent({ version: 'three' }))).toEqual([
      'rejected',
      expect.stringMatching(/^not a task state change: version: /)
    ])
    expect(outcome(taskEvent({ containers: [container({ exitCode: 1.5 })] }))[0]).toBe('rejected')
  })
})

describe('an ECR Image Action', () => {
  const action = (detail: object = {}, given: object = {}) => ({
    'detail-type': 'ECR Image Action',
    source: 'aws.ecr',
    ...given,
    detail: { result: 'SUCCESS', 'action-type': 'PUSH', 'repository-name': 'orders', 'image-tag': '1.0.0', ...detail }
  })
  const tag = (name = '1.0.0', repository = 'orders') => store.transact((tx) => tx.tag(repository, name))
  const jobs = async () => (await store.scanJobs(undefined, { offset: 0, limit: 10 })).rows

  it('as ECR sends it: a push is scanned, its digest a hint', async () => {
    await take(fixture('ecr-push'))
    const [job, ...others] = await jobs()
    expect(others).toEqual([])
    expect(job).toMatchObject({
      repository: 'cdp-portal-frontend',
      causes: ['push'],
      state: 'queued',
      requestedAt: SENT
    })
    expect(job?.digestHint).toMatch(/^sha256:/)
  })

  it('in its smallest form, from any account or none', async () => {
    await take(fixture('ecr-push-minimal'))
    expect(await jobs()).toMatchObject([{ repository: 'cdp-portal-frontend', tag: '0.1.0', digestHint: null }])
    expect(outcome(action({}, { account: '999999999' }))[0]).toBe('done')
  })

  it.each(['1.0.0', 'v1.0.0', '0.0.1', '10.20.30'])('of a push of %s is scanned', async (name) => {
    await take(action({ 'image-tag': name, 'repository-name': 'team/orders' }))
    expect(await jobs()).toMatchObject([{ repository: 'team/orders', tag: name }])
  })

  it.each([
    ['that failed', { result: 'FAILURE' }, 'the action did not succeed: FAILURE'],
    ['of another kind', { 'action-type': 'REPLICATE' }, 'not followed: REPLICATE'],
    ['of a tag that is no release', { 'image-tag': 'latest' }, 'the tag latest is no release version'],
    ['of a release with something behind it', { 'image-tag': '1.0.0-rc1' }, 'the tag 1.0.0-rc1 is no release version'],
    ['without a tag', { 'image-tag': undefined }, 'PUSH without a tag'],
    ['with an empty tag', { 'image-tag': '' }, 'PUSH without a tag'],
    ['without a tag to delete', { 'action-type': 'DELETE', 'image-tag': null }, 'DELETE without a tag']
  ])('%s is ignored', async (_, detail, reason) => {
    expect(outcome(action(detail))).toEqual(['ignored', reason])
  })

  it.each([
    ['without a repository', { 'repository-name': undefined }, expect.stringMatching(/repository-name/)],
    ['of a repository that is a path', { 'repository-name': '../../etc' }, '"../../etc" is no repository\'s name'],
    ['of a tag that is a path', { 'image-tag': '../1.0.0' }, '"../1.0.0" is no tag'],
    ['of a tag beyond all bounds', { 'image-tag': `1.0.${'0'.repeat(200)}` }, expect.stringMatching(/ is no tag$/)],
    ['without a result', { result: undefined }, expect.stringMatching(/result/)]
  ])('%s is rejected', (_, detail, reason) => {
    expect(outcome(action(detail))).toEqual(['rejected', reason])
  })

  it('of a delete marks the tag, whatever it is called, and scans nothing', async () => {
    await take(action({ 'action-type': 'DELETE' }), action({ 'action-type': 'DELETE', 'image-tag': 'latest' }))
    expect(await tag()).toMatchObject({ pushedAt: null, deletedAt: SENT })
    expect(await tag('latest')).toMatchObject({ deletedAt: SENT })
    expect(await jobs()).toEqual([])
  })

  it('to the second stands for the end of that second, so that a delete comes after a push that is known more exactly', async () => {
    await take(
      action({}, { time: '2026-03-02T09:15:30.700Z' }),
      action({ 'action-type': 'DELETE' }, { time: '2026-03-02T09:15:30Z' })
    )
    const { pushedAt, deletedAt } = (await tag()) ?? { pushedAt: null, deletedAt: null }
    expect([pushedAt, deletedAt]).toEqual([Date.UTC(2026, 2, 2, 9, 15, 30, 700), Date.UTC(2026, 2, 2, 9, 15, 30, 999)])
  })

  it('is known by its detail where it does not say what it is', () => {
    expect(outcome({ detail: action().detail })[0]).toBe('done')
  })
})

describe('the pipeline’s event', () => {
  const pipeline = (given: object = {}) => ({
    'detail-type': 'ECS Lambda Deployment Updated',
    account: ACCOUNT,
    cdp_deployment_id: 'portal-1',
    deployed_by: 'Sam Doe',
    detail: { deploymentId: 'ecs-svc/1' },
    ...given
  })
  const link = () => store.transact((tx) => tx.link(ACCOUNT, 'ecs-svc/1'))

  it('as it is sent: it links the two, at the time its message was sent', async () => {
    await take(fixture('ecs-lambda-deployment-updated'))
    expect(await store.linksOf('1f1f3f0e-7d6b-4a51-9a0e-6c4c2b9d8e77')).toEqual([
      {
        account: ACCOUNT,
        ecsDeploymentId: 'ecs-svc/8142337706195823441',
        portalId: '1f1f3f0e-7d6b-4a51-9a0e-6c4c2b9d8e77',
        user: 'Sam Doe',
        userId: null,
        at: SENT
      }
    ])
  })

  it.each([
    ['a name', 'Sam Doe', 'Sam Doe', null],
    ['an object', { userId: 'u-1', displayName: 'Sam Doe' }, 'Sam Doe', 'u-1'],
    ['half an object', { userId: 'u-1' }, null, 'u-1'],
    ['an empty name', '', null, null],
    ['nobody', undefined, null, null],
    ['null', null, null, null]
  ])('is deployed by %s', async (_, by, user, userId) => {
    await take(pipeline({ deployed_by: by }))
    expect(await link()).toMatchObject({ portalId: 'portal-1', user, userId })
  })

  it('knows the ECS deployment without its prefix, too, and the event by either name', async () => {
    await take(pipeline({ 'detail-type': 'ECS Lambda Deployment Created', detail: { deploymentId: '1' } }))
    expect(await link()).toMatchObject({ portalId: 'portal-1' })
  })

  it('links whether it comes before the tasks or after them', async () => {
    const task = taskEvent({ startedBy: 'ecs-svc/1' })
    const known = (of: Store) =>
      of.transact((tx) =>
        tx.putArtifact({
          repository: 'orders',
          tag: '1.0.0',
          digest: digest(1),
          manifestDigest: digest(1),
          configDigest: digest(2),
          service: 'orders',
          gitUrl: null,
          createdAt: SENT,
          resolvedAt: SENT,
          deletedAt: null,
          placeholder: false,
          scan: 'complete',
          scanError: null,
          scannerVersion: 1
        })
      )
    for (const order of [
      [task, pipeline()],
      [pipeline(), task]
    ]) {
      await store.close()
      store = createSqliteStore(':memory:')
      await known(store)
      await take(...order)
      expect(await store.deploymentNamed('portal-1')).toMatchObject({ ecsDeploymentId: 'ecs-svc/1', user: 'Sam Doe' })
      expect(await store.running()).toMatchObject([
        { deployment: { deploymentId: 'portal-1' }, task: { deploymentId: 'portal-1' } }
      ])
    }
  })

  it.each([
    [
      'without a portal id',
      { cdp_deployment_id: undefined },
      expect.stringMatching(/^not a pipeline event: cdp_deployment_id: /)
    ],
    [
      'with an empty one',
      { cdp_deployment_id: '' },
      expect.stringMatching(/^not a pipeline event: cdp_deployment_id: /)
    ],
    [
      'with one beyond all bounds',
      { cdp_deployment_id: 'x'.repeat(513) },
      expect.stringMatching(/^not a pipeline event: cdp_deployment_id: /)
    ],
    [
      'with one that is no segment of a path',
      { cdp_deployment_id: 'a/b' },
      expect.stringMatching(/^not a pipeline event: cdp_deployment_id: /)
    ],
    ['without an ECS deployment', { detail: {} }, 'the event names no ECS deployment: detail.deploymentId is missing'],
    ['without a detail', { detail: undefined }, 'the event names no ECS deployment: detail.deploymentId is missing'],
    ['from an unknown account', { account: '1' }, 'unknown account 1: it is not in ENVIRONMENTS']
  ])('%s is rejected', (_, given, reason) => {
    expect(outcome(pipeline(given))).toEqual(['rejected', reason])
  })
})

describe('an ECS Deployment State Change', () => {
  const SERVICE_ARN = 'arn:aws:ecs:eu-west-2:333333333:service/cluster/orders'
  const change = (detail: object = {}, given: object = {}) => ({
    'detail-type': 'ECS Deployment State Change',
    account: ACCOUNT,
    time: '2026-03-02T09:15:30Z',
    resources: [SERVICE_ARN],
    ...given,
    detail: { eventName: 'SERVICE_DEPLOYMENT_IN_PROGRESS', eventType: 'INFO', deploymentId: 'ecs-svc/1', ...detail }
  })
  const actions = () =>
    store.serviceActionsOf(
      { account: ACCOUNT, group: 'service:orders', begunAt: 0 } as Parameters<Store['serviceActionsOf']>[0],
      10
    )

  it('as ECS sends it is the last word on that deployment', async () => {
    await take(fixture('ecs-deployment-completed'))
    expect(await store.rolloutOf(ACCOUNT, 'ecs-svc/8142337706195823441')).toMatchObject({
      eventName: 'SERVICE_DEPLOYMENT_COMPLETED',
      at: Date.UTC(2026, 2, 2, 9, 16, 39, 771)
    })
  })

  it('gives way to a later one only', async () => {
    const later = change({ eventName: 'SERVICE_DEPLOYMENT_FAILED', updatedAt: '2026-03-02T09:20:00Z', reason: 'why' })
    const events = [change(), later, change({ updatedAt: '2026-03-02T09:10:00Z' })]
    for (const order of [events, events.toReversed()]) {
      await take(...order)
      expect(await store.rolloutOf(ACCOUNT, 'ecs-svc/1')).toMatchObject({
        eventName: 'SERVICE_DEPLOYMENT_FAILED',
        reason: 'why'
      })
      await store.transact((tx) => tx.clearDeployments())
    }
  })

  it('that names no deployment is a note on its service', async () => {
    await take(change({ deploymentId: undefined, reason: 'why' }))
    expect(await actions()).toMatchObject([
      { ecsService: 'orders', eventName: 'SERVICE_DEPLOYMENT_IN_PROGRESS', reason: 'why' }
    ])
    expect(outcome(change({ deploymentId: null }, { resources: [] }))).toEqual([
      'rejected',
      'the event names neither a deployment nor a service'
    ])
  })

  it('without a name, or from an unknown account, is rejected', () => {
    expect(outcome(change({ eventName: '' }))[0]).toBe('rejected')
    expect(outcome(change({}, { account: '1' }))).toEqual(['rejected', 'unknown account 1: it is not in ENVIRONMENTS'])
    expect(outcome(change({}, { account: undefined }))).toEqual(['rejected', 'the event names no account'])
  })

  describe('an ECS Service Action', () => {
    const note = (detail: object = {}, given: object = {}) => ({
      ...change({}, given),
      'detail-type': 'ECS Service Action',
      detail: { eventName: 'SERVICE_STEADY_STATE', eventType: 'INFO', ...detail }
    })

    it('is a note on its service, once', async () => {
      const same = note({ createdAt: '2026-03-02T09:15:29.800Z' }, { id: 'one' })
      await take(same, same)
      expect(await actions()).toMatchObject([
        { eventName: 'SERVICE_STEADY_STATE', eventType: 'INFO', at: Date.UTC(2026, 2, 2, 9, 15, 29, 800) }
      ])
    })

    it.each([
      ['in the long form', 'arn:aws:ecs:eu-west-2:333333333:service/cluster/orders'],
      ['in the old form', 'arn:aws:ecs:eu-west-2:333333333:service/orders']
    ])('knows its service by an ARN %s', async (_, arn) => {
      await take(note({}, { resources: [arn] }))
      expect(await actions()).toMatchObject([{ ecsService: 'orders' }])
    })

    it('without a service or a name is rejected', () => {
      expect(outcome(note({}, { resources: ['arn:aws:ecs:eu-west-2:333333333:task/cluster/1'] }))).toEqual([
        'rejected',
        'the event names no service'
      ])
      expect(outcome(note({ eventName: undefined }))[0]).toBe('rejected')
    })
  })
})

describe('every other event', () => {
  it.each(['ECR Image Scan', 'ECR Replication Action', 'ECR Referrer Action', 'Inspector2 Finding'])(
    '%s is ignored',
    (kind) => {
      expect(outcome({ 'detail-type': kind, source: 'aws.ecr', detail: {} })).toEqual([
        'ignored',
        `not followed: ${kind}`
      ])
    }
  )

  it('of no kind is rejected', () => {
    expect(outcome({ source: 'aws.ecs', detail: { lastStatus: 'RUNNING' } })[0]).toBe('rejected')
    expect(outcome({})[0]).toBe('rejected')
  })

  it('that pretends to be one of this service’s own is not, on a queue', () => {
    const own = { source: 'cdp.portal', 'detail-type': 'Deployment Requested', detail: { deploymentId: 'p' } }
    expect(outcome(own)).toEqual(['ignored', 'not followed: Deployment Requested'])
  })
})
