import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTestApi, definitionArn, type TestApi, taskArn } from '../../../test/api.ts'
import { INSTANCES_SHOWN } from '../../deployments/deployments.ts'

let api: TestApi
beforeEach(() => {
  api = createTestApi()
})
afterEach(() => api.close())

const IMAGE = 'registry.example:5000/foo:1.0.0'
const request = { service: 'foo', version: '1.0.0', environment: 'dev', deploymentId: 'portal-1' }

type Entry = Record<string, unknown>
const field = (name: string) => (entry: Entry) => entry[name]

describe('a deployment record', () => {
  it('has every field, of the type that clients rely on', async () => {
    await api.image('foo', '1.0.0', { service: 'foo-service' })
    await api.task({ image: IMAGE, startedBy: 'ecs-svc/123', created: 0, started: 2 })
    const { body } = await api.get('/deployments')
    expect(body.deployments).toEqual([
      {
        deploymentId: '123',
        environment: 'dev',
        service: 'foo-service',
        version: '1.0.0',
        user: 'n/a',
        userId: 'n/a',
        deployedAt: '2024-05-01T12:02:00.000Z',
        status: 'RUNNING',
        dockerImage: IMAGE,
        taskId: definitionArn('dev', 'definition:1'),
        ecsSvcDeploymentId: 'ecs-svc/123',
        cpu: '1024',
        memory: '2048',
        instanceTaskId: taskArn('dev', 'task-1'),
        instanceCount: null,
        stoppedAt: null,
        stopCode: null,
        reason: null,
        exitCode: null
      }
    ])
  })

  it('is shown only once its image is known, and then at once', async () => {
    await api.task({ image: IMAGE })
    expect((await api.get('/deployments')).body.deployments).toEqual([])
    await api.image('foo', '1.0.0')
    expect((await api.get('/deployments')).body.deployments).toHaveLength(1)
  })

  it('says when a task was created while it has not started', async () => {
    await api.image('foo', '1.0.0')
    await api.task({ image: IMAGE, status: 'PENDING', created: 7 })
    const { body } = await api.get('/deployments')
    expect(body.deployments).toMatchObject([{ status: 'PENDING', deployedAt: '2024-05-01T12:07:00.000Z' }])
  })

  it('says how a task ended', async () => {
    await api.image('foo', '1.0.0')
    await api.task({
      image: IMAGE,
      status: 'STOPPED',
      started: 1,
      stopped: 5,
      stopCode: 'EssentialContainerExited',
      stoppedReason: 'Essential container in task exited',
      exitCode: 137,
      containerReason: 'OutOfMemoryError: container killed due to memory usage'
    })
    expect((await api.get('/deployments')).body.deployments).toMatchObject([
      {
        status: 'STOPPED',
        stoppedAt: '2024-05-01T12:05:00.000Z',
        stopCode: 'EssentialContainerExited',
        exitCode: 137,
        reason: 'Essential container in task exited (OutOfMemoryError: container killed due to memory usage)'
      }
    ])
  })

  it('of a task that a newer one replaced in its slot says so', async () => {
    await api.image('foo', '1.0.0')
    await api.task({ image: IMAGE, definition: 'a', created: 0 })
    await api.task({ image: IMAGE, definition: 'b', created: 10 })
    expect((await api.get('/deployments')).body.deployments).toMatchObject([
      { status: 'RUNNING', reason: null },
      { status: 'STOPPED', reason: 'replaced by a newer task', stoppedAt: '2024-05-01T12:10:00.000Z' }
    ])
  })

  it('carries who asked, and for how many, once its request is known', async () => {
    await api.image('foo', '1.0.0')
    await api.post('/deployments', { ...request, user: { id: 'user-1', displayName: 'A User' }, instanceCount: 3 })
    await api.task({ image: IMAGE, startedBy: 'ecs-svc/123', created: 5 })
    expect((await api.get('/deployments')).body.deployments).toMatchObject([
      {
        deploymentId: 'portal-1',
        user: 'A User',
        userId: 'user-1',
        instanceCount: 3,
        ecsSvcDeploymentId: 'ecs-svc/123'
      }
    ])
  })
})

describe('GET /deployments', () => {
  /** Tasks 1 to n, each a deployment of its own, the highest the newest. */
  async function story(n: number) {
    await api.image('foo', '1.0.0')
    for (let i = 1; i <= n; i++) {
      const environment = i % 2 === 0 ? 'prod' : 'dev'
      await api.task({
        environment,
        image: IMAGE,
        task: `task-${i}`,
        startedBy: `ecs-svc/${i}`,
        created: i,
        started: i
      })
    }
  }

  it('is ordered by deployedAt, newest first, then environment, service, deploymentId, instanceTaskId', async () => {
    await api.image('foo', '1.0.0')
    await api.image('bar', '1.0.0')
    for (const [environment, image, startedBy, task] of [
      ['prod', 'foo:1.0.0', 'ecs-svc/1', 'a'],
      ['dev', 'foo:1.0.0', 'ecs-svc/2', 'd'],
      ['dev', 'foo:1.0.0', 'ecs-svc/2', 'c'],
      ['dev', 'foo:1.0.0', 'ecs-svc/1', 'e'],
      ['dev', 'bar:1.0.0', 'ecs-svc/9', 'b']
    ] as const) {
      await api.task({ environment, image, startedBy, task, created: 1, started: 2 })
    }
    await api.task({ image: 'foo:1.0.0', startedBy: 'ecs-svc/3', task: 'z', created: 3 })
    const { body } = await api.get('/deployments')
    expect(body.deployments.map((entry: Entry) => String(entry.instanceTaskId).slice(-1))).toEqual([
      'z',
      'b',
      'e',
      'c',
      'd',
      'a'
    ])
  })

  it('shows one page of 20 unless asked otherwise', async () => {
    await story(25)
    const { body } = await api.get('/deployments')
    expect(body).toMatchObject({ page: 1, pageSize: 20, totalPages: 2 })
    expect(body.deployments.map(field('deploymentId'))).toEqual(Array.from({ length: 20 }, (_, i) => String(25 - i)))
    expect((await api.get('/deployments?page=2')).body.deployments).toHaveLength(5)
  })

  it.each(['', '?page=0&size=0', '?page=&size=', '?size=0', '?page=0', '?offset=0', '?offset='])(
    'page and size of 0 or none are 1 and 20: %s',
    async (query) => {
      expect((await api.get(`/deployments${query}`)).body).toEqual({
        deployments: [],
        page: 1,
        pageSize: 20,
        totalPages: 1
      })
    }
  )

  it.each([
    'page=-1',
    'size=-1',
    'offset=-1',
    'page=1.5',
    'size=x',
    'size=1001',
    'page=1e3',
    'page=1&page=2',
    'offset=NaN'
  ])('%s is 400 and named', async (query) => {
    const { status, body } = await api.get(`/deployments?${query}`)
    expect(status).toBe(400)
    expect(body.code).toBe('invalid-parameter')
    expect(body.errors.map(field('field'))).toEqual([query.split('=')[0]])
    expect((await api.get(`/squashed-deployments?${query}`)).status).toBe(400)
  })

  it('takes a size of 1000', async () => {
    expect((await api.get('/deployments?size=1000')).body.pageSize).toBe(1_000)
  })

  it('past the end is that page, empty', async () => {
    await story(3)
    expect((await api.get('/deployments?page=7&size=2')).body).toEqual({
      deployments: [],
      page: 7,
      pageSize: 2,
      totalPages: 2
    })
    const farthest = Number.MAX_SAFE_INTEGER
    expect(await api.get(`/deployments?page=${farthest}&size=1000&offset=${farthest}`)).toMatchObject({
      status: 200,
      body: { deployments: [], page: farthest }
    })
  })

  it('shows every row once and in order, whatever the size, the page and the offset', async () => {
    await story(13)
    const all = (await api.get('/deployments?size=1000')).body.deployments
    const squashed = (await api.get('/squashed-deployments?size=1000')).body.deployments
    expect(all).toHaveLength(13)
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 15 }),
        fc.integer({ min: 0, max: 15 }),
        fc.constantFrom('deployments', 'squashed-deployments'),
        async (size, offset, list) => {
          const first = (await api.get(`/${list}?size=${size}&offset=${offset}`)).body
          const seen = [...first.deployments]
          for (let page = 2; page <= first.totalPages; page++) {
            const next = (await api.get(`/${list}?size=${size}&offset=${offset}&page=${page}`)).body
            expect(next).toMatchObject({ page, pageSize: size, totalPages: first.totalPages })
            expect(next.deployments.length).toBeGreaterThan(0)
            seen.push(...next.deployments)
          }
          expect(seen).toEqual((list === 'deployments' ? all : squashed).slice(offset))
        }
      ),
      { numRuns: 40 }
    )
  })

  it('filters by environment; an empty one is none', async () => {
    await story(5)
    const { body } = await api.get('/deployments?environment=prod&size=1')
    expect(body).toMatchObject({ totalPages: 2, deployments: [{ deploymentId: '4', environment: 'prod' }] })
    expect((await api.get('/deployments?environment=')).body.deployments).toHaveLength(5)
    expect((await api.get('/deployments?environment=nowhere')).body).toMatchObject({ deployments: [], totalPages: 1 })
  })

  it('has one-off tasks as well', async () => {
    await api.image('foo', '1.0.0')
    await api.task({ image: IMAGE, group: 'family:migration' })
    expect((await api.get('/deployments')).body.deployments).toHaveLength(1)
    expect((await api.get('/whats-running-where')).body).toEqual([])
  })

  it('has requests that have no task yet, until they have one', async () => {
    await api.image('foo', '1.0.0')
    await api.post('/deployments', request)
    expect((await api.get('/deployments')).body.deployments).toMatchObject([
      { status: 'REQUESTED', deploymentId: 'portal-1' }
    ])
    await api.task({ image: IMAGE, startedBy: 'ecs-svc/123', created: 5 })
    expect((await api.get('/deployments')).body.deployments).toMatchObject([
      { status: 'RUNNING', deploymentId: 'portal-1' }
    ])
  })
})

describe('GET /squashed-deployments', () => {
  it('has one entry per deployment and status, with its count and what was asked for', async () => {
    await api.image('foo', '1.0.0')
    await api.post('/deployments', { ...request, instanceCount: 4 })
    for (const task of ['a', 'b', 'c']) {
      await api.task({ image: IMAGE, task, startedBy: 'ecs-svc/1', created: 2, started: task === 'c' ? 5 : 3 })
    }
    await api.task({
      image: IMAGE,
      task: 'd',
      startedBy: 'ecs-svc/1',
      status: 'STOPPED',
      created: 1,
      started: 1,
      stopped: 2
    })
    await api.post('/deployments', { ...request, deploymentId: 'portal-2', environment: 'prod' })
    const { body } = await api.get('/squashed-deployments')
    expect(body).toMatchObject({ page: 1, pageSize: 20, totalPages: 1 })
    expect(body.deployments).toMatchObject([
      { status: 'RUNNING', count: 3, requestedCount: 4, deploymentId: 'portal-1', instanceTaskId: taskArn('dev', 'c') },
      { status: 'STOPPED', count: 1, requestedCount: 4, deploymentId: 'portal-1' },
      { status: 'REQUESTED', count: 0, requestedCount: null, deploymentId: 'portal-2' }
    ])
  })
})

describe('GET /deployments/:deploymentId', () => {
  const shown = async (id: string) => {
    const { status, body } = await api.get(`/deployments/${id}`)
    return status === 200 ? body.instanceTaskId : status
  }

  it('understands the portal’s id, ECS’s with and without its prefix, the task definition’s ARN and the made one', async () => {
    await api.image('foo', '1.0.0')
    await api.task({ image: IMAGE, task: 'no-starter', definition: 'd:1', created: 0 })
    const madeId = (await api.get('/deployments')).body.deployments[0].deploymentId
    await api.task({ image: IMAGE, task: 'linked', definition: 'd:2', startedBy: 'ecs-svc/123', created: 9 })
    const linkedMadeId = (await api.store.deploymentNamed('123'))?.madeId
    await api.link('portal-1', 'ecs-svc/123')
    expect(await shown(madeId)).toBe(taskArn('dev', 'no-starter'))
    const arn = definitionArn('dev', 'd:2')
    for (const id of [
      'portal-1',
      '123',
      'ecs-svc/123',
      'ecs-svc%2F123',
      'ecs-svc%2f123',
      arn,
      encodeURIComponent(arn),
      linkedMadeId ?? ''
    ]) {
      expect(await shown(id), id).toBe(taskArn('dev', 'linked'))
    }
    expect(await api.get(`/cdp-portal-backend/Deployments/${arn}/`)).toMatchObject({
      body: { deploymentId: 'portal-1' }
    })
  })

  it('every id that a list shows leads to its deployment', async () => {
    const id = fc.stringMatching(/^[A-Za-z0-9._~-]{1,40}$/).filter((text) => !/^\.{1,2}$/.test(text))
    await api.image('foo', '1.0.0')
    let count = 0
    await fc.assert(
      fc.asyncProperty(id, id, fc.boolean(), async (ecsId, portalId, isLinked) => {
        count += 1
        const task = `task-${count}`
        await api.task({ image: IMAGE, task, startedBy: `ecs-svc/${ecsId}`, created: count, started: count })
        if (isLinked) await api.link(portalId, `ecs-svc/${ecsId}`)
        const { deploymentId, instanceTaskId } = (await api.get('/deployments?size=1')).body.deployments[0]
        expect(instanceTaskId).toBe(taskArn('dev', task))
        expect(deploymentId).toMatch(/^[A-Za-z0-9._~-]+$/)
        const { body } = await api.get(`/deployments/${deploymentId}`)
        expect(body.instances.map(field('instanceTaskId'))).toContain(instanceTaskId)
        expect(await shown(`ecs-svc/${ecsId}`)).toBe(instanceTaskId)
      }),
      { numRuns: 50 }
    )
  })

  it('of several that fit is the newest', async () => {
    await api.image('foo', '1.0.0')
    const arn = definitionArn('dev', 'd:1')
    await api.task({ image: IMAGE, task: 'newer', definition: 'd:1', startedBy: 'ecs-svc/2', created: 20 })
    await api.task({ image: IMAGE, task: 'older', definition: 'd:1', startedBy: 'ecs-svc/1', created: 10 })
    expect(await shown(arn)).toBe(taskArn('dev', 'newer'))
  })

  it('of a request that waits and an older deployment with that id is the request', async () => {
    await api.image('foo', '1.0.0')
    await api.task({ image: IMAGE, startedBy: 'ecs-svc/123', created: 0 })
    api.setClock(30)
    await api.post('/deployments', { ...request, deploymentId: '123', environment: 'prod' })
    expect(await api.get('/deployments/123')).toMatchObject({ body: { status: 'REQUESTED', environment: 'prod' } })
    await api.task({ image: IMAGE, task: 'newer', startedBy: 'ecs-svc/123', created: 40, environment: 'test' })
    expect(await api.get('/deployments/123')).toMatchObject({ body: { status: 'RUNNING', environment: 'test' } })
  })

  it('tells what happened in its own account only', async () => {
    await api.image('foo', '1.0.0')
    for (const environment of ['dev', 'prod'] as const) {
      await api.task({ environment, image: IMAGE, task: environment, startedBy: 'ecs-svc/123' })
      await api.link(`portal-${environment}`, 'ecs-svc/123', environment)
    }
    const { body } = await api.get('/deployments/portal-dev')
    expect(body.history.map(field('event'))).toEqual(['RUNNING'])
  })

  it('shows the newest 500 tasks', async () => {
    await api.image('foo', '1.0.0')
    for (let i = 0; i <= INSTANCES_SHOWN; i++) {
      await api.task({ image: IMAGE, task: `task-${i}`, startedBy: 'ecs-svc/1', created: i })
    }
    const { instances } = (await api.get('/deployments/1')).body
    expect(instances).toHaveLength(500)
    expect(instances[0].instanceTaskId).toBe(taskArn('dev', 'task-500'))
    expect(instances[499].instanceTaskId).toBe(taskArn('dev', 'task-1'))
  })

  it('is 404 when unknown, and takes up to 512 characters', async () => {
    expect(await api.get(`/deployments/${'x'.repeat(512)}`)).toMatchObject({ status: 404, body: { code: 'not-found' } })
    expect((await api.get(`/deployments/${'%2F'.repeat(512)}`)).status).toBe(404)
    expect(await api.get(`/deployments/${'x'.repeat(513)}`)).toMatchObject({
      status: 400,
      body: { message: 'deploymentId must have at most 512 characters.' }
    })
  })

  it('is the record of its newest task, with all of them, newest first', async () => {
    await api.image('foo', '1.0.0')
    await api.task({ image: IMAGE, task: 'a', startedBy: 'ecs-svc/1', created: 1, started: 2 })
    await api.task({ image: IMAGE, task: 'b', startedBy: 'ecs-svc/1', created: 3, started: 4 })
    const { body } = await api.get('/deployments/1')
    expect(body.instanceTaskId).toBe(taskArn('dev', 'b'))
    expect(body.instances.map(field('instanceTaskId'))).toEqual([taskArn('dev', 'b'), taskArn('dev', 'a')])
    const { history, instances, ...record } = body
    expect(record).toEqual(instances[0])
  })

  it('of a request without a task is the request, also by the ECS id of its link', async () => {
    await api.post('/deployments', request)
    await api.link('portal-1', 'ecs-svc/777', 'dev', 1)
    for (const id of ['portal-1', '777', 'ecs-svc/777', 'ecs-svc%2F777']) {
      expect(await api.get(`/deployments/${id}`), id).toMatchObject({
        status: 200,
        body: {
          deploymentId: 'portal-1',
          status: 'REQUESTED',
          instances: [],
          history: [{ event: 'REQUESTED' }]
        }
      })
    }
  })

  it('says what happened when, oldest first', async () => {
    await api.image('foo', '1.0.0')
    await api.post('/deployments', request)
    const task = { image: IMAGE, startedBy: 'ecs-svc/123', created: 3, group: 'service:foo' }
    await api.link('portal-1', 'ecs-svc/123', 'dev', 2)
    await api.task({ ...task, status: 'PENDING', version: 1, time: 4 })
    await api.task({ ...task, status: 'RUNNING', version: 2, started: 5 })
    await api.task({ ...task, status: 'RUNNING', version: 3, started: 5, time: 6 })
    await api.rollout('ecs-svc/123', 'SERVICE_DEPLOYMENT_COMPLETED', 7, 'ECS deployment completed.')
    await api.serviceAction('foo', 'SERVICE_STEADY_STATE', 8)
    await api.task({
      ...task,
      status: 'STOPPED',
      version: 4,
      started: 5,
      stopped: 9,
      stoppedReason: 'Scaling activity'
    })
    const { body } = await api.get('/deployments/portal-1')
    const instanceTaskId = taskArn('dev', 'task-1')
    const at = (minute: number) => `2024-05-01T12:0${minute}:00.000Z`
    expect(body.history).toEqual([
      { at: at(0), event: 'REQUESTED', reason: null, instanceTaskId: null },
      { at: at(4), event: 'PENDING', reason: null, instanceTaskId },
      { at: at(5), event: 'RUNNING', reason: null, instanceTaskId },
      { at: at(7), event: 'SERVICE_DEPLOYMENT_COMPLETED', reason: 'ECS deployment completed.', instanceTaskId: null },
      { at: at(8), event: 'SERVICE_STEADY_STATE', reason: null, instanceTaskId: null },
      { at: at(9), event: 'STOPPED', reason: 'Scaling activity', instanceTaskId }
    ])
  })
})

describe('POST /deployments', () => {
  it('answers a REQUESTED record', async () => {
    const user = { id: 'user-1', displayName: 'A User' }
    const { status, body } = await api.post('/deployments', { ...request, user, instanceCount: 2 })
    expect(status).toBe(200)
    expect(body).toEqual({
      deploymentId: 'portal-1',
      environment: 'dev',
      service: 'foo',
      version: '1.0.0',
      user: 'A User',
      userId: 'user-1',
      deployedAt: '2024-05-01T12:00:00.000Z',
      status: 'REQUESTED',
      dockerImage: 'foo',
      taskId: null,
      ecsSvcDeploymentId: null,
      cpu: null,
      memory: null,
      instanceTaskId: null,
      instanceCount: 2,
      stoppedAt: null,
      stopCode: null,
      reason: null,
      exitCode: null
    })
  })

  it('finds the service by its name or its image’s; an unknown one is kept as sent', async () => {
    await api.image('foo-image', '1.0.0', { service: 'foo' })
    for (const service of ['foo', 'foo-image']) {
      const { body } = await api.post('/deployments', { ...request, service, deploymentId: `by-${service}` })
      expect(body).toMatchObject({ service: 'foo', dockerImage: 'foo' })
    }
    const { body } = await api.post('/deployments', { ...request, service: 'Who Knows', deploymentId: 'unknown' })
    expect(body).toMatchObject({ service: 'Who Knows' })
  })

  it.each([
    [
      { user: null, instanceCount: null },
      { user: 'n/a', userId: 'n/a', instanceCount: null }
    ],
    [{ user: {} }, { user: 'n/a', userId: 'n/a', instanceCount: null }],
    [{ user: { id: 'u' } }, { user: 'n/a', userId: 'u' }],
    [{ user: { displayName: 'U', id: null } }, { user: 'U', userId: 'n/a' }],
    [{ instanceCount: 0, unknown: { field: [1] } }, { instanceCount: 0 }]
  ])('fields may be missing, and unknown ones are ignored: %j', async (more, expected) => {
    expect(await api.post('/deployments', { ...request, ...more })).toMatchObject({ status: 200, body: expected })
  })

  it('drops a __proto__ like any other unknown field', async () => {
    const payload = `{"service":"foo","version":"1.0.0","environment":"dev","__proto__":{"a":1},"constructor":{"prototype":{}}}`
    const headers = { 'content-type': 'application/json' }
    expect((await api.app.inject({ method: 'POST', url: '/deployments', payload, headers })).statusCode).toBe(200)
  })

  it('makes an id where none is sent', async () => {
    const { deploymentId: _, ...anonymous } = request
    const ids = new Set<string>()
    for (const body of [anonymous, { ...anonymous, deploymentId: null }, { ...anonymous, deploymentId: '' }]) {
      const response = await api.post('/deployments', body)
      expect(response.body.deploymentId).toMatch(/^[0-9a-f-]{36}$/)
      ids.add(response.body.deploymentId)
    }
    expect(ids.size).toBe(3)
  })

  it('the same deploymentId again changes nothing', async () => {
    const first = await api.post('/deployments', { ...request, instanceCount: 1 })
    api.setClock(30)
    const second = await api.post('/deployments', { ...request, version: '9.9.9', instanceCount: 7 })
    expect(second).toMatchObject({ status: 200, body: first.body })
    expect((await api.get('/deployments')).body.deployments).toEqual([first.body])
  })

  it('names each of service, version and environment that is missing or empty', async () => {
    for (const body of [{}, { service: '', version: ' ', environment: null }]) {
      const { status, body: problem } = await api.post('/deployments', body)
      expect(status).toBe(400)
      expect(problem.code).toBe('invalid-body')
      expect(problem.errors).toEqual([
        { field: 'service', message: 'is missing' },
        { field: 'version', message: 'is missing' },
        { field: 'environment', message: 'is missing' }
      ])
      expect(problem.message).toBe('service is missing; version is missing; environment is missing.')
    }
  })

  it.each([
    [{ environment: 'moon' }, 'environment is not known: moon.'],
    [{ deploymentId: 'a/b' }, 'deploymentId must be one segment of a path: letters, digits and . _ ~ -.'],
    [{ deploymentId: '..' }, 'deploymentId must be one segment of a path: letters, digits and . _ ~ -.'],
    [{ deploymentId: 'x'.repeat(513) }, 'deploymentId must have at most 512 characters.'],
    [{ deploymentId: 7 }, 'deploymentId must be a text.'],
    [{ instanceCount: -1 }, 'instanceCount must be a whole number, 0 or more.'],
    [{ instanceCount: 1.5 }, 'instanceCount must be a whole number, 0 or more.'],
    [{ instanceCount: '1' }, 'instanceCount must be a whole number, 0 or more.'],
    [{ service: 5 }, 'service must be a text.'],
    [{ service: { length: { toString: null } } }, 'service must be a text.'],
    [{ deploymentId: { length: { toString: null } } }, 'deploymentId must be a text.'],
    [{ service: 'x'.repeat(256) }, 'service must have at most 255 characters.'],
    [{ version: 'x'.repeat(129) }, 'version must have at most 128 characters.'],
    [{ user: 'me' }, 'user must be an object.'],
    [{ user: { id: 'x'.repeat(257) } }, 'user.id must have at most 256 characters.']
  ])('%j is 400', async (more, message) => {
    expect(await api.post('/deployments', { ...request, ...more })).toMatchObject({ status: 400, body: { message } })
    expect((await api.get('/deployments')).body.deployments).toEqual([])
  })

  it.each(['[]', '"text"', 'null', '7', ''])('a body of %s is no object: 400', async (payload) => {
    const headers = { 'content-type': 'application/json' }
    const response = await api.app.inject({ method: 'POST', url: '/deployments', payload, headers })
    expect(response.statusCode).toBe(400)
    expect(response.json()).toMatchObject({ code: 'invalid-body', message: 'The body must be a JSON object.' })
  })

  it('takes an environment that is hidden from the list: it is known', async () => {
    expect((await api.post('/deployments', { ...request, environment: 'snd' })).status).toBe(200)
  })
})

describe('GET /whats-running-where', () => {
  it('has one record per service and environment, sorted by service and promotion order', async () => {
    await api.image('foo', '1.0.0')
    await api.image('bar', '1.0.0')
    for (const environment of ['prod', 'dev', 'infra-dev'] as const) {
      await api.task({ environment, image: 'foo:1.0.0', task: `foo-${environment}` })
      await api.task({ environment, image: 'bar:1.0.0', task: `bar-${environment}` })
    }
    const { body } = await api.get('/whats-running-where')
    expect(body.map(({ service, environment }: Entry) => `${service} ${environment}`)).toEqual([
      'bar infra-dev',
      'bar dev',
      'bar prod',
      'foo infra-dev',
      'foo dev',
      'foo prod'
    ])
    expect(body[0]).toMatchObject({ status: 'RUNNING', runningCount: 1, version: '1.0.0' })
    expect(body[0]).not.toHaveProperty('versions')
  })

  it('is the newest deployment with a running task; where none runs, the newest with a live one', async () => {
    await api.image('foo', '1.0.0')
    await api.image('foo', '2.0.0')
    await api.task({ image: 'foo:1.0.0', task: 'a', startedBy: 'ecs-svc/1', created: 0, started: 1 })
    await api.task({ image: 'foo:1.0.0', task: 'b', startedBy: 'ecs-svc/1', created: 0, started: 2 })
    await api.task({ image: 'foo:2.0.0', task: 'c', startedBy: 'ecs-svc/2', status: 'PENDING', created: 10 })
    expect((await api.get('/whats-running-where/foo')).body).toMatchObject([
      {
        version: '1.0.0',
        deploymentId: '1',
        runningCount: 2,
        // Its first start.
        deployedAt: '2024-05-01T12:01:00.000Z',
        versions: [
          { version: '2.0.0', count: 1 },
          { version: '1.0.0', count: 2 }
        ]
      }
    ])
    for (const task of ['a', 'b']) {
      const stop = { status: 'STOPPED', version: 2, started: 1, stopped: 12 }
      await api.task({ image: 'foo:1.0.0', task, startedBy: 'ecs-svc/1', created: 0, ...stop })
    }
    const { body } = await api.get('/whats-running-where/foo')
    expect(body).toMatchObject([{ version: '2.0.0', status: 'PENDING', runningCount: 0 }])
    expect(body[0]).not.toHaveProperty('versions')
  })

  it('a service whose tasks have all stopped is not running anywhere', async () => {
    await api.image('foo', '1.0.0')
    await api.task({ image: IMAGE, status: 'STOPPED', started: 1, stopped: 2 })
    expect((await api.get('/whats-running-where')).body).toEqual([])
    expect(await api.get('/whats-running-where/foo')).toMatchObject({ status: 200, body: [] })
  })

  it('of one that is unknown or runs nowhere is [], never 404', async () => {
    expect(await api.get('/whats-running-where/unknown')).toMatchObject({ status: 200, body: [] })
    expect(await api.get('/whats-running-where/unknown?at=2024-05-01T12:00:00Z')).toMatchObject({
      status: 200,
      body: []
    })
  })

  it('understands a service with slashes, encoded or raw', async () => {
    await api.image('foo', '1.0.0', { service: 'team/foo' })
    await api.task({ image: IMAGE })
    for (const path of [
      '/whats-running-where/team%2Ffoo',
      '/whats-running-where/team/foo',
      '/Whats-Running-Where/team/foo/'
    ]) {
      expect((await api.get(path)).body).toMatchObject([{ service: 'team/foo' }])
    }
  })

  it('with ?at= is as it was then', async () => {
    await api.image('foo', '1.0.0')
    await api.image('foo', '2.0.0')
    const first = { image: 'foo:1.0.0', task: 'a', startedBy: 'ecs-svc/1', created: 0, started: 2 }
    await api.task(first)
    await api.task({
      ...first,
      status: 'STOPPED',
      version: 2,
      stopped: 20,
      stoppedReason: 'Scaling activity',
      exitCode: 1
    })
    await api.task({ image: 'foo:2.0.0', task: 'b', startedBy: 'ecs-svc/2', created: 10, started: 15 })
    const at = async (time: string) => (await api.get(`/whats-running-where?at=${time}`)).body
    expect(await at('2024-05-01T11:59:59Z')).toEqual([])
    expect(await at('2024-05-01T12:01:00Z')).toMatchObject([{ version: '1.0.0', runningCount: 0 }])
    expect(await at('2024-05-01T12:05:00Z')).toMatchObject([
      { version: '1.0.0', runningCount: 1, status: 'RUNNING', stoppedAt: null, reason: null, exitCode: null }
    ])
    expect(await at('2024-05-01T13:16:00%2B01:00')).toMatchObject([{ version: '2.0.0', versions: [{}, {}] }])
    // A plus that was not encoded arrives as a space.
    expect(await at('2024-05-01T13:16:00+01:00')).toMatchObject([{ version: '2.0.0' }])
    const now = (await api.get('/whats-running-where')).body
    expect(await at('2030-01-01T00:00:00Z')).toEqual(now)
    expect(await at('')).toEqual(now)
    expect((await api.get('/whats-running-where/foo?at=2024-05-01T12:05:00Z')).body).toMatchObject([
      { version: '1.0.0' }
    ])
    expect((await api.get('/whats-running-where/bar?at=2024-05-01T12:05:00Z')).body).toEqual([])
  })

  it.each(['yesterday', '2024-05-01', '2024-05-01T12:00:00', '1714564800000', '2024-13-01T00:00:00Z'])(
    'at=%s is 400',
    async (time) => {
      expect(await api.get(`/whats-running-where?at=${time}`)).toMatchObject({
        status: 400,
        body: { message: 'at must be a time in ISO 8601 with its zone, such as 2024-05-01T12:00:00Z.' }
      })
    }
  )
})
