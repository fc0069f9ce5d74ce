import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { snapshot } from '../../test/snapshot.ts'
import { soaked } from '../../test/soak.ts'
import { recordResolved } from '../artifacts/artifacts.ts'
import type { Digest } from '../domain/digest.ts'
import type { ImageRecord, Store, Transaction, Work } from '../store/port.ts'
import { createSqliteStore } from '../store/sqlite/sqlite.ts'
import { applyLink, applyRequest, applyTask, keyOf, type TaskObservation } from './deployments.ts'

const digest = (n: number): Digest => `sha256:${n.toString(16).padStart(64, '0')}`
const MINUTE = 60_000
const NOON = Date.UTC(2026, 2, 2, 12)

type Step = (tx: Transaction) => Work<unknown>

function observe(given: Partial<TaskObservation> & { task: string; status: string }): Step {
  const repository = given.repository ?? 'cdp-portal-frontend'
  const account = given.account ?? '333333333'
  const taskDefinition = given.taskDefinition ?? `arn:aws:ecs:eu-west-2:${account}:task-definition/${repository}:1`
  const startedBy = given.startedBy === undefined ? 'ecs-svc/1' : given.startedBy
  const at = given.at ?? NOON
  const observation: TaskObservation = {
    account,
    environment: account === '333333333' ? 'dev' : 'test',
    repository,
    taskDefinition,
    startedBy,
    group: `service:${repository}`,
    tag: '0.1.0',
    digest: null,
    imageDigest: null,
    image: `host.example/${repository}:${given.tag ?? '0.1.0'}`,
    cpu: '1024',
    memory: '2048',
    stopCode: null,
    stoppedReason: null,
    exitCode: null,
    containerReason: null,
    version: 1,
    at,
    time: at,
    sentAt: at,
    createdAt: null,
    startedAt: null,
    stoppedAt: null,
    ...given,
    key: keyOf(account, given.task, repository, taskDefinition, startedBy),
    slot: keyOf(account, given.task, repository),
    fingerprint: given.fingerprint ?? JSON.stringify(given)
  }
  return (tx) => applyTask(tx, observation)
}

function known(repository: string, tag: string, service: string | null, n: number, resolvedAt = NOON): Step {
  const image: ImageRecord = {
    manifestDigest: digest(n),
    configDigest: digest(n + 1000),
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    os: 'linux',
    architecture: 'amd64',
    labels: {},
    layers: [],
    scan: 'complete',
    scanError: null,
    scannerVersion: 1,
    files: []
  }
  const index = digest(n + 2000)
  const digests = [index, digest(n)]
  return (tx) =>
    recordResolved(
      tx,
      { repository, tag, resolvedAt, digest: index, digests, service, gitUrl: null, isWitness: false },
      image
    )
}

function requested(deploymentId: string, version: string, requestedAt: number, service = 'cdp-portal-frontend'): Step {
  const request = { deploymentId, environment: 'dev', requestedService: service, version, requestedAt }
  return (tx) => applyRequest(tx, { ...request, user: 'Ann', userId: 'u-1', instanceCount: 2 })
}

function linked(ecsDeploymentId: string, portalId: string, at = NOON): Step {
  return (tx) => applyLink(tx, { account: '333333333', ecsDeploymentId, portalId, user: 'Link', userId: null, at })
}

async function play(steps: readonly Step[]): Promise<Store> {
  const store = createSqliteStore(':memory:')
  for (const step of steps) await store.transact(step)
  return store
}

const FRONTEND = 'cdp-portal-frontend'

describe('what is running where', () => {
  it('shows a task from created to stopped, and nothing once all have stopped', async () => {
    const store = await play([known(FRONTEND, '0.1.0', FRONTEND, 1), observe({ task: 't1', status: 'PENDING' })])
    expect(await store.running()).toMatchObject([
      { service: FRONTEND, environment: 'dev', status: 'PENDING', runningCount: 0 }
    ])
    await store.transact(observe({ task: 't1', status: 'RUNNING', version: 2, at: NOON + 1 }))
    expect(await store.running()).toMatchObject([{ status: 'RUNNING', runningCount: 1 }])
    await store.transact(observe({ task: 't1', status: 'STOPPED', version: 3, at: NOON + 2 }))
    expect(await store.running()).toEqual([])
  })

  it('takes the newest deployment with a running task, and counts the versions that live', async () => {
    const store = await play([
      known(FRONTEND, '0.1.0', FRONTEND, 1),
      known(FRONTEND, '0.2.0', FRONTEND, 2),
      observe({ task: 't1', status: 'RUNNING' }),
      observe({ task: 't2', status: 'PENDING', tag: '0.2.0', startedBy: 'ecs-svc/2', at: NOON + MINUTE })
    ])
    expect(await store.running()).toMatchObject([
      {
        task: { version: '0.1.0' },
        runningCount: 1,
        versions: [
          { version: '0.2.0', count: 1 },
          { version: '0.1.0', count: 1 }
        ]
      }
    ])
    await store.transact(
      observe({
        task: 't2',
        status: 'RUNNING',
        tag: '0.2.0',
        startedBy: 'ecs-svc/2',
        version: 2,
        at: NOON + 2 * MINUTE
      })
    )
    expect(await store.running()).toMatchObject([{ task: { version: '0.2.0' }, runningCount: 1 }])
  })

  it('leaves one-off tasks out, and keeps them among the deployments', async () => {
    const store = await play([
      known(FRONTEND, '0.1.0', FRONTEND, 1),
      observe({ task: 't1', status: 'RUNNING', group: 'family:migrate', startedBy: null })
    ])
    expect(await store.running()).toEqual([])
    expect((await store.deploymentRows({}, { offset: 0, limit: 10 })).total).toBe(1)
  })
})

describe('a slot', () => {
  const fake = (version: string, at: number): Step =>
    observe({
      task: 'one-arn-for-all',
      status: 'RUNNING',
      tag: version,
      startedBy: null,
      taskDefinition: `td-${version}-${at}`,
      at
    })

  it('lets only its newest record live, in whatever order they come', async () => {
    const steps = [fake('0.1.0', NOON), fake('0.2.0', NOON + MINUTE), fake('0.1.0', NOON + 2 * MINUTE)]
    const images = [known(FRONTEND, '0.1.0', FRONTEND, 1), known(FRONTEND, '0.2.0', FRONTEND, 2)]
    for (const order of [steps, steps.toReversed(), [1, 2, 0].map((i) => steps[i] as Step)]) {
      const store = await play([...images, ...order])
      expect(await store.running()).toMatchObject([
        { task: { version: '0.1.0', createdAt: NOON + 2 * MINUTE }, runningCount: 1 }
      ])
      const { rows } = await store.deploymentRows({}, { offset: 0, limit: 10 })
      expect(
        rows.map((row) => row.kind === 'task' && [row.task.status, row.task.replaced, row.task.stoppedAt])
      ).toEqual([
        ['RUNNING', false, null],
        ['STOPPED', true, NOON + 2 * MINUTE],
        ['STOPPED', true, NOON + MINUTE]
      ])
    }
  })
})

describe('an image', () => {
  it('that is scanned later makes its tasks appear', async () => {
    const store = await play([observe({ task: 't1', status: 'RUNNING' })])
    expect(await store.running()).toEqual([])
    await store.transact(known(FRONTEND, '0.1.0', FRONTEND, 1))
    expect(await store.running()).toMatchObject([{ service: FRONTEND, task: { version: '0.1.0' } }])
  })

  it('is matched by the digest of the index or of the manifest, before its tag', async () => {
    const images = [known(FRONTEND, '0.1.0', FRONTEND, 1), known(FRONTEND, '0.2.0', FRONTEND, 2)]
    for (const imageDigest of [digest(2), digest(2002)]) {
      const store = await play([...images, observe({ task: 't1', status: 'RUNNING', imageDigest })])
      expect(await store.running()).toMatchObject([{ task: { version: '0.2.0' } }])
    }
  })

  it('with an unknown digest beside a tag is matched by its tag', async () => {
    const store = await play([
      known(FRONTEND, '0.1.0', FRONTEND, 1),
      observe({ task: 't1', status: 'RUNNING', imageDigest: digest(99) })
    ])
    expect(await store.running()).toMatchObject([{ task: { version: '0.1.0' } }])
  })

  it('with a digest alone under several tags shows the highest version', async () => {
    const store = await play([
      known(FRONTEND, '0.9.0', FRONTEND, 1),
      known(FRONTEND, '0.10.0', FRONTEND, 1),
      observe({ task: 't1', status: 'RUNNING', tag: null, digest: digest(1) })
    ])
    expect(await store.running()).toMatchObject([{ task: { version: '0.10.0' } }])
  })

  it('that a task was matched to by digest stays its artifact when the tag moves on', async () => {
    const store = await play([
      known(FRONTEND, '0.1.0', 'old-label', 1),
      observe({ task: 't1', status: 'RUNNING', imageDigest: digest(1) }),
      known(FRONTEND, '0.1.0', 'new-label', 2, NOON + MINUTE)
    ])
    expect(await store.running()).toMatchObject([{ service: 'old-label', task: { version: '0.1.0' } }])
  })

  it('without a label runs out of sight', async () => {
    const store = await play([known(FRONTEND, '0.1.0', null, 1), observe({ task: 't1', status: 'RUNNING' })])
    expect(await store.running()).toEqual([])
    expect((await store.deploymentRows({}, { offset: 0, limit: 10 })).total).toBe(0)
  })
})

describe('a request', () => {
  const image = known(FRONTEND, '0.1.0', FRONTEND, 1)
  const task = observe({ task: 't1', status: 'RUNNING', at: NOON + MINUTE })

  it('is shown while no task answers it, then becomes the first deployment that begins within 20 minutes', async () => {
    const store = await play([image, requested('p1', '0.1.0', NOON)])
    expect((await store.deploymentRows({}, { offset: 0, limit: 10 })).rows).toMatchObject([{ kind: 'request' }])
    await store.transact(task)
    expect((await store.deploymentRows({}, { offset: 0, limit: 10 })).rows).toMatchObject([
      { kind: 'task', deployment: { deploymentId: 'p1', user: 'Ann', instanceCount: 2 }, task: { deploymentId: 'p1' } }
    ])
  })

  it('takes no deployment that begins before it, later than 20 minutes after it, or in another version', async () => {
    for (const request of [
      requested('p1', '0.1.0', NOON + 2 * MINUTE),
      requested('p1', '0.1.0', NOON - 20 * MINUTE),
      requested('p1', '0.2.0', NOON)
    ]) {
      const store = await play([image, request, task])
      const { rows } = await store.deploymentRows({}, { offset: 0, limit: 10 })
      expect(rows.map((row) => row.kind).sort()).toEqual(['request', 'task'])
    }
  })

  it('gives the deployment up to a link that comes later', async () => {
    const store = await play([image, requested('p1', '0.1.0', NOON), task, linked('ecs-svc/1', 'p2')])
    const { rows } = await store.deploymentRows({}, { offset: 0, limit: 10 })
    expect(rows).toMatchObject([
      { kind: 'task', deployment: { deploymentId: 'p2', user: 'Link' } },
      { kind: 'request' }
    ])
  })

  it('finds its service by the name of its image', async () => {
    const store = await play([
      requested('p1', '0.1.0', NOON, 'the-image'),
      known('the-image', '0.1.0', 'the-service', 1)
    ])
    expect((await store.deploymentRows({}, { offset: 0, limit: 10 })).rows).toMatchObject([
      { kind: 'request', request: { service: 'the-service', requestedService: 'the-image' } }
    ])
  })

  it('with a known id changes nothing', async () => {
    const store = await play([image, requested('p1', '0.1.0', NOON), requested('p1', '0.2.0', NOON + 5)])
    expect((await store.deploymentRows({}, { offset: 0, limit: 10 })).rows).toMatchObject([
      { request: { version: '0.1.0' } }
    ])
  })
})

describe('any order of the same events', () => {
  const statuses = ['PROVISIONING', 'PENDING', 'RUNNING', 'DEACTIVATING', 'STOPPED']
  const tag = fc.constantFrom('0.1.0', '0.2.0', '0.10.0')
  const minute = fc.integer({ min: 0, max: 60 }).map((n) => NOON + n * MINUTE)
  const aTask = fc.record({
    task: fc.constantFrom('t1', 't2', 't3', 't4'),
    account: fc.constantFrom('333333333', '444444444'),
    repository: fc.constantFrom('a', 'b'),
    startedBy: fc.constantFrom('ecs-svc/1', 'ecs-svc/2', null),
    taskDefinition: fc.constantFrom('td-1', 'td-2'),
    group: fc.constantFrom('service:a', 'service:a', 'family:x', null),
    tag,
    imageDigest: fc.constantFrom(null, digest(1), digest(2), digest(77)),
    from: minute,
    hasCreatedAt: fc.boolean(),
    sameVersions: fc.boolean(),
    seen: fc.subarray(statuses, { minLength: 1 })
  })
  const steps = fc.record({
    tasks: fc.array(aTask, { minLength: 1, maxLength: 6 }),
    links: fc.array(
      fc.record({
        ecs: fc.constantFrom('ecs-svc/1', 'ecs-svc/2'),
        portal: fc.constantFrom('p1', 'p2', 'p3'),
        at: minute
      }),
      { maxLength: 3 }
    ),
    requests: fc.uniqueArray(
      fc.record({
        id: fc.constantFrom('p1', 'p2', 'p3', 'p4'),
        tag,
        at: minute,
        service: fc.constantFrom('a', 'service-a', 'b')
      }),
      { maxLength: 3, selector: (r) => r.id }
    )
  })
  type Story = typeof steps extends fc.Arbitrary<infer T> ? T : never
  const images = [
    known('a', '0.1.0', 'service-a', 1),
    known('a', '0.2.0', 'service-a', 2),
    known('a', '0.10.0', 'service-a', 2),
    known('b', '0.1.0', 'service-a', 3),
    known('b', '0.2.0', null, 4)
  ]

  function toSteps(story: Story): Step[] {
    return [
      ...story.tasks.flatMap(({ from, hasCreatedAt, sameVersions, seen, ...task }, index) =>
        seen.map((status) => {
          const at = from + statuses.indexOf(status) * 10_000 + index
          const version = sameVersions ? 1 : statuses.indexOf(status) + 1
          return observe({ ...task, status, version, at, createdAt: hasCreatedAt ? from : null })
        })
      ),
      ...story.links.map((link) => linked(link.ecs, link.portal, link.at)),
      ...story.requests.map((request) => requested(request.id, request.tag, request.at, request.service)),
      ...images
    ]
  }

  it('ends in the same state, however often each comes [soak]', async () => {
    const times = [NOON, NOON + 15 * MINUTE, NOON + 30 * MINUTE, NOON + 60 * MINUTE]
    await fc.assert(
      fc.asyncProperty(
        steps.chain((story) => {
          const all = toSteps(story)
          const indices = all.map((_, index) => index)
          return fc.record({
            story: fc.constant(story),
            order: fc.shuffledSubarray([...indices, ...indices], { minLength: indices.length * 2 })
          })
        }),
        async ({ story, order }) => {
          const all = toSteps(story)
          const straight = await play(all)
          const shuffled = await play(order.map((index) => all[index] as Step))
          expect(await snapshot(shuffled, times)).toEqual(await snapshot(straight, times))
          await straight.close()
          await shuffled.close()
        }
      ),
      soaked('any order of the same events', 200)
    )
  })
})
