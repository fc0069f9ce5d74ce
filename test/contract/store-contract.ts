import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compareText } from '../../src/domain/version.ts'
import {
  type DeploymentRow,
  JOB_STATES,
  type ScanJob,
  type Store,
  StoreError,
  type TaskRecord,
  type Transaction,
  type Work
} from '../../src/store/port.ts'
import { createRandom } from '../random.ts'
import {
  action,
  artifact,
  deployment,
  digest,
  event,
  image,
  job,
  layer,
  NOON,
  request,
  running,
  status,
  task
} from './records.ts'

const ORDERS = { environment: 'dev', service: 'orders', version: '1.0.0' }
const ALWAYS = { from: 0, to: Number.MAX_SAFE_INTEGER }

const ALL = { offset: 0, limit: 1_000 }
const MINUTE = 60_000
const MiB = 2 ** 20

/**
 * What `src/store/port.ts` promises, for one store. Every store that the service can be set to runs it.
 * @param open an empty store, each time.
 */
export function describeStore(name: string, open: () => Promise<Store>): void {
  describe(`${name} as a store`, () => {
    let store: Store
    beforeEach(async () => {
      store = await open()
    })
    afterEach(() => store.close())

    /** What one call in a transaction of its own answers. */
    function ask<T>(call: (tx: Transaction) => Work<T>): Promise<T> {
      return store.transact(call)
    }
    /** Writes in one transaction, in this order. */
    function write(...calls: readonly ((tx: Transaction) => Work<unknown>)[]): Promise<void> {
      return store.transact(function* (tx) {
        for (const call of calls) yield* call(tx)
      })
    }
    const putTasks = (...tasks: readonly TaskRecord[]) =>
      write(...tasks.map((one) => (tx: Transaction) => tx.putTask(one)))

    describe('a transaction', () => {
      it('sees what it wrote, and answers what its work returns', async () => {
        const seen = await ask(function* (tx) {
          yield* tx.putRequest(request({ version: '1.0.0' }))
          yield* tx.putRequest(request({ version: '2.0.0' }))
          return yield* tx.request('request-1')
        })
        expect(seen).toEqual(request({ version: '2.0.0' }))
      })

      it('leaves nothing behind where its work throws, and passes the error on', async () => {
        await write((tx) => tx.putTag({ repository: 'orders', tag: '1.0.0', pushedAt: NOON, deletedAt: null }))
        const fault = new Error('in the middle')
        const work = ask(function* (tx) {
          yield* tx.appendEvent(event())
          yield* tx.putTag({ repository: 'orders', tag: '1.0.0', pushedAt: null, deletedAt: NOON })
          yield* tx.putTask(task())
          yield* tx.putDeploymentStatus(status())
          yield* tx.addScanJob(job())
          yield* tx.clearDeployments()
          throw fault
        })
        await expect(work).rejects.toBe(fault)
        expect(await ask((tx) => tx.tag('orders', '1.0.0'))).toMatchObject({ pushedAt: NOON, deletedAt: null })
        expect(await ask((tx) => tx.task('task-1'))).toBeNull()
        expect(await ask((tx) => tx.deploymentStatus('deployment-1', 'RUNNING'))).toBeNull()
        expect(await store.events({}, ALL)).toEqual({ rows: [], total: 0 })
        expect((await store.scanJobs(undefined, ALL)).total).toBe(0)
      })

      it('brings back what it cleared where its work throws', async () => {
        await write(
          (tx) => tx.putTask(task()),
          (tx) => tx.putDeployment(deployment()),
          (tx) => tx.putRunning(running())
        )
        const work = ask(function* (tx): Work<void> {
          yield* tx.clearDeployments()
          throw new Error('no')
        })
        await expect(work).rejects.toThrow('no')
        expect(await store.running()).toHaveLength(1)
        expect((await store.deploymentRows({}, ALL)).total).toBe(1)
      })

      it('loses no other one that ran beside it', async () => {
        await write((tx) => tx.putRequest(request({ instanceCount: 0 })))
        const increment = () =>
          ask(function* (tx) {
            const known = yield* tx.request('request-1')
            yield* tx.putRequest(request({ instanceCount: (known?.instanceCount ?? 0) + 1 }))
          })
        await Promise.all(Array.from({ length: 20 }, increment))
        expect((await ask((tx) => tx.request('request-1')))?.instanceCount).toBe(20)
      })

      it('that writes nothing changes nothing', async () => {
        const answer = await ask(function* () {
          return 'nothing'
        })
        expect(answer).toBe('nothing')
      })
    })

    describe('the event log', () => {
      const append = (...keys: readonly string[]) =>
        write(...keys.map((key) => (tx: Transaction) => tx.appendEvent(event({ key }))))

      it('keeps an event as it came, at the end', async () => {
        const first = event({ key: 'a' })
        const bare = event({
          key: 'b',
          channel: 'portal',
          source: null,
          detailType: null,
          account: null,
          eventId: null
        })
        const odd = event({ key: 'c', outcome: 'rejected', reason: 'why', body: ' {"a":\n"\u0000é👍\\ud800"} ' })
        for (const one of [first, bare, odd]) expect(await ask((tx) => tx.appendEvent(one))).toBe(true)
        const kept = await store.eventsAfter(0, 10)
        expect(kept).toEqual([first, bare, odd].map((one, index) => ({ ...one, sequence: index + 1, duplicates: 0 })))
      })

      it('adds no event twice, and counts how often it came again', async () => {
        await append('a', 'b', 'a')
        expect(await ask((tx) => tx.appendEvent(event({ key: 'a', body: 'other' })))).toBe(false)
        expect((await store.eventsAfter(0, 10)).map(({ key, body, duplicates }) => [key, body, duplicates])).toEqual([
          ['a', event().body, 2],
          ['b', event().body, 0]
        ])
      })

      it('is whole from its beginning, whatever came twice or was taken back', async () => {
        expect(await store.isEventLogWhole()).toBe(true)
        await append('a', 'a', 'b', 'a', 'b')
        const work = ask(function* (tx): Work<void> {
          yield* tx.appendEvent(event({ key: 'c' }))
          throw new Error('no')
        })
        await expect(work).rejects.toThrow('no')
        await append('b', 'd')
        expect(await store.isEventLogWhole()).toBe(true)
      })

      it('is read in order after any place, a part at a time', async () => {
        await append('a', 'b', 'c', 'd')
        const [first, second] = await store.eventsAfter(0, 2)
        expect([first?.key, second?.key]).toEqual(['a', 'b'])
        expect((await store.eventsAfter(second?.sequence ?? 0, 10)).map(({ key }) => key)).toEqual(['c', 'd'])
        expect(await store.eventsAfter(1_000, 10)).toEqual([])
      })

      it('is listed newest first, in pages, by outcome and source', async () => {
        await write(
          (tx) => tx.appendEvent(event({ key: 'a', source: 'aws.ecs', outcome: 'done' })),
          (tx) => tx.appendEvent(event({ key: 'b', source: 'aws.ecr', outcome: 'ignored' })),
          (tx) => tx.appendEvent(event({ key: 'c', source: 'aws.ecs', outcome: 'rejected' })),
          (tx) => tx.appendEvent(event({ key: 'd', source: null, outcome: 'rejected' }))
        )
        const keys = async (filter: Parameters<Store['events']>[0], page = ALL) => {
          const { rows, total } = await store.events(filter, page)
          return [rows.map(({ key }) => key).join(''), total]
        }
        expect(await keys({})).toEqual(['dcba', 4])
        expect(await keys({}, { offset: 1, limit: 2 })).toEqual(['cb', 4])
        expect(await keys({}, { offset: 9, limit: 2 })).toEqual(['', 4])
        expect(await keys({ outcome: 'rejected' })).toEqual(['dc', 2])
        expect(await keys({ source: 'aws.ecs' })).toEqual(['ca', 2])
        expect(await keys({ source: 'aws.ecs', outcome: 'rejected' })).toEqual(['c', 1])
        expect(await keys({ source: 'aws.ec' })).toEqual(['', 0])
      })

      it('takes another outcome for an event, which is then listed under it', async () => {
        await append('a', 'b')
        const [, second] = await store.eventsAfter(0, 10)
        const sequence = second?.sequence ?? 0
        await write((tx) => tx.reviseEvent(sequence, 'rejected', 'why'))
        expect(await store.events({ outcome: 'rejected' }, ALL)).toMatchObject({
          rows: [{ ...event({ key: 'b' }), outcome: 'rejected', reason: 'why', sequence }],
          total: 1
        })
        expect((await store.events({ outcome: 'done' }, ALL)).total).toBe(1)
        await write((tx) => tx.reviseEvent(sequence, 'rejected', null))
        expect((await store.events({ outcome: 'rejected' }, ALL)).rows).toMatchObject([{ reason: null }])
        expect(await store.isEventLogWhole()).toBe(true)
      })

      it('is not changed by another outcome for an event that it lacks', async () => {
        await append('a')
        await write((tx) => tx.reviseEvent(77, 'rejected', 'why'))
        expect(await store.events({}, ALL)).toMatchObject({ rows: [{ outcome: 'done' }], total: 1 })
        expect((await store.events({ outcome: 'rejected' }, ALL)).total).toBe(0)
      })
    })

    describe('tasks', () => {
      it('come back as they were put, and are replaced under their key', async () => {
        const full = task({
          tag: null,
          digest: digest(1),
          imageDigest: `sha512:${'a'.repeat(128)}`,
          exitCode: 137,
          stopCode: 'EssentialContainerExited',
          statuses: Array.from({ length: 32 }, (_, version) => ({ status: 'RUNNING', at: NOON + version, version })),
          startedAt: NOON + 1,
          stoppedAt: NOON + 2
        })
        await putTasks(full)
        expect(await ask((tx) => tx.task('task-1'))).toEqual(full)
        const bare = task({ service: null, version: null, deployment: null, deploymentId: null, startedBy: null })
        await putTasks(bare)
        expect(await ask((tx) => tx.task('task-1'))).toEqual(bare)
        expect(await ask((tx) => tx.task('task-2'))).toBeNull()
      })

      it('of one slot know who comes before and after any place', async () => {
        const at = (key: string, slotOrder: string) => task({ key, slotOrder, slot: 'slot' })
        const [a, b, c] = [at('a', '1'), at('b', '2'), at('c', '3')]
        await putTasks(c, a, b, task({ key: 'other', slotOrder: '2', slot: 'other slot' }))
        const neighbours = (order: string, key: string) => ask((tx) => tx.slotNeighbours('slot', order, key))
        expect(await neighbours('2', 'b')).toEqual({ previous: a, next: c })
        expect(await neighbours('1', 'a')).toEqual({ previous: null, next: b })
        expect(await neighbours('3', 'c')).toEqual({ previous: b, next: null })
        // A place of its own that it is about to take leaves the record itself out.
        expect(await neighbours('9', 'b')).toEqual({ previous: c, next: null })
        expect(await neighbours('25', 'new')).toEqual({ previous: b, next: c })
        expect(await ask((tx) => tx.slotNeighbours('empty', '1', 'a'))).toEqual({ previous: null, next: null })
      })

      it('of an image are those that name its tag or one of its digests, in its repository', async () => {
        await putTasks(
          task({ key: 'by-tag', tag: '1.0.0' }),
          task({ key: 'by-digest', tag: '9.9.9', digest: digest(1) }),
          task({ key: 'by-image-digest', tag: null, imageDigest: digest(2) }),
          task({ key: 'by-all', tag: '1.0.0', digest: digest(1), imageDigest: digest(2) }),
          task({ key: 'other-tag', tag: '1.0.1', digest: digest(3), imageDigest: digest(3) }),
          task({ key: 'other-repository', repository: 'payments', tag: '1.0.0', digest: digest(1) })
        )
        const keys = async (tag: string, ...digests: readonly string[]) =>
          (await ask((tx) => tx.tasksOfImage('orders', tag, digests))).map(({ key }) => key).sort()
        expect(await keys('1.0.0', digest(1), digest(2))).toEqual(['by-all', 'by-digest', 'by-image-digest', 'by-tag'])
        expect(await keys('1.0.0')).toEqual(['by-all', 'by-tag'])
        expect(await keys('none', digest(2))).toEqual(['by-all', 'by-image-digest'])
        expect(await keys('none')).toEqual([])
      })

      it('that live of a service in an environment have not stopped, and are no one-off tasks', async () => {
        await putTasks(
          task({ key: 'a' }),
          task({ key: 'b', status: 'PENDING' }),
          task({ key: 'stopped', stoppedAt: NOON }),
          task({ key: 'stopped-at-the-beginning-of-time', stoppedAt: 0 }),
          task({ key: 'one-off', oneOff: true }),
          task({ key: 'elsewhere', environment: 'test' }),
          task({ key: 'of-another', service: 'payments' }),
          task({ key: 'of-none', service: null })
        )
        const live = await ask((tx) => tx.liveTasks('dev', 'orders'))
        expect(live.map(({ key }) => key).sort()).toEqual(['a', 'b'])
        await putTasks(task({ key: 'a', stoppedAt: NOON }))
        expect((await ask((tx) => tx.liveTasks('dev', 'orders'))).map(({ key }) => key)).toEqual(['b'])
      })

      it('that were live at a time were created by then and not stopped until after', async () => {
        await putTasks(
          task({ key: 'a', createdAt: NOON, stoppedAt: NOON + 10 }),
          task({ key: 'b', createdAt: NOON + 5 }),
          task({ key: 'other', createdAt: NOON, service: 'payments', deployment: 'deployment-2' }),
          task({ key: 'one-off', createdAt: NOON, oneOff: true }),
          task({ key: 'unknown', createdAt: NOON, service: null, deployment: null })
        )
        await write(
          (tx) => tx.putDeployment(deployment()),
          (tx) => tx.putDeployment(deployment({ key: 'deployment-2', service: 'payments' }))
        )
        const live = async (at: number, service?: string) => {
          const entries = await store.tasksLiveAt(at, service)
          expect(entries.every((entry) => entry.deployment.key === entry.task.deployment)).toBe(true)
          return entries.map((entry) => entry.task.key).sort()
        }
        expect(await live(NOON - 1)).toEqual([])
        expect(await live(NOON)).toEqual(['a', 'other'])
        expect(await live(NOON + 5)).toEqual(['a', 'b', 'other'])
        expect(await live(NOON + 9, 'orders')).toEqual(['a', 'b'])
        expect(await live(NOON + 10, 'orders')).toEqual(['b'])
        expect(await live(NOON + 10, 'none')).toEqual([])
      })
    })

    describe('deployments', () => {
      it('come back as they were put, are replaced under their key, and go', async () => {
        const full = deployment({ portalId: 'p', user: 'Ann', userId: 'u', instanceCount: 0, firstStartedAt: NOON + 1 })
        await write((tx) => tx.putDeployment(full))
        expect(await ask((tx) => tx.deployment('deployment-1'))).toEqual(full)
        await write((tx) => tx.putDeployment(deployment()))
        expect(await ask((tx) => tx.deployment('deployment-1'))).toEqual(deployment())
        await write((tx) => tx.removeDeployment('deployment-1'))
        expect(await ask((tx) => tx.deployment('deployment-1'))).toBeNull()
      })

      it('write their public id into their tasks, and into no others', async () => {
        await putTasks(task({ key: 'a' }), task({ key: 'b', deployment: 'deployment-2' }))
        await write((tx) => tx.putDeployment(deployment({ deploymentId: 'id-1' })))
        await write((tx) => tx.putDeployment(deployment({ deploymentId: 'portal-1' })))
        expect((await ask((tx) => tx.task('a')))?.deploymentId).toBe('portal-1')
        expect((await ask((tx) => tx.task('b')))?.deploymentId).toBe('id-1')
        expect((await store.tasksOfDeployment('deployment-1', 10)).map((one) => one.deploymentId)).toEqual(['portal-1'])
        expect((await ask((tx) => tx.liveTasks('dev', 'orders'))).map((one) => one.deploymentId).sort()).toEqual([
          'id-1',
          'portal-1'
        ])
      })

      it('are ordered by their public id in lists as soon as it changes', async () => {
        await putTasks(
          task({ key: 'a', deployment: 'a', deploymentId: 'id-1' }),
          task({ key: 'b', deployment: 'b', deploymentId: 'id-2' })
        )
        await write(
          (tx) => tx.putDeployment(deployment({ key: 'a', deploymentId: 'id-1' })),
          (tx) => tx.putDeployment(deployment({ key: 'b', deploymentId: 'id-2' })),
          (tx) => tx.putDeployment(deployment({ key: 'a', deploymentId: 'id-3' }))
        )
        expect((await store.deploymentRows({}, ALL)).rows.map(keyOfRow)).toEqual(['b', 'a'])
      })

      it('extend from their first creation and first start to their newest task', async () => {
        const extent = () => ask((tx) => tx.deploymentExtent('deployment-1'))
        expect(await extent()).toBeNull()
        const first = task({ key: 'a', createdAt: NOON + 1, startedAt: null })
        await putTasks(first)
        expect(await extent()).toEqual({ begunAt: NOON + 1, firstStartedAt: null, newest: first })
        const newest = task({ key: 'c', createdAt: NOON + 9, startedAt: NOON + 20 })
        await putTasks(
          newest,
          task({ key: 'b', createdAt: NOON + 5, startedAt: NOON + 7 }),
          task({ key: 'other', createdAt: NOON, startedAt: NOON, deployment: 'deployment-2' })
        )
        expect(await extent()).toEqual({ begunAt: NOON + 1, firstStartedAt: NOON + 7, newest })
        // Of two that were created at once, the same one each time: the last by task, then by key.
        const last = task({ key: 'a-last', task: 'arn:z', createdAt: NOON + 9 })
        await putTasks(last)
        expect((await extent())?.newest).toEqual(last)
      })

      it('know the newest task in each status', async () => {
        const newest = (of: string) => ask((tx) => tx.newestTaskInStatus('deployment-1', of))
        const started = task({ key: 'a', createdAt: NOON, startedAt: NOON + 9 })
        const tie = task({ key: 'b', task: 'arn:0', createdAt: NOON + 9 })
        await putTasks(
          started,
          task({ key: 'c', createdAt: NOON + 8 }),
          task({ key: 'd', createdAt: NOON + 99, status: 'STOPPED' }),
          task({ key: 'e', createdAt: NOON + 99, deployment: 'deployment-2' })
        )
        expect(await newest('RUNNING')).toEqual(started)
        // Of two that were deployed at once, the first by task.
        await putTasks(tie)
        expect(await newest('RUNNING')).toEqual(tie)
        expect(await newest('PENDING')).toBeNull()
      })

      it('are found by the ECS deployment and account, oldest first', async () => {
        await write(
          (tx) => tx.putDeployment(deployment({ key: 'a', begunAt: NOON + 2 })),
          (tx) => tx.putDeployment(deployment({ key: 'c', begunAt: NOON + 1 })),
          (tx) => tx.putDeployment(deployment({ key: 'b', begunAt: NOON + 1 })),
          (tx) => tx.putDeployment(deployment({ key: 'other-account', account: '1' })),
          (tx) => tx.putDeployment(deployment({ key: 'other-id', ecsDeploymentId: 'ecs-svc/2' })),
          (tx) => tx.putDeployment(deployment({ key: 'no-id', ecsDeploymentId: null }))
        )
        const found = await ask((tx) => tx.deploymentsOfEcsDeployment('333333333', 'ecs-svc/1'))
        expect(found.map(({ key }) => key)).toEqual(['b', 'c', 'a'])
      })

      it('are found by service, environment and version, whichever of its tags they have, oldest first', async () => {
        await write(
          (tx) => tx.putDeployment(deployment({ key: 'a', begunAt: NOON + 2, version: '1.0.0' })),
          (tx) => tx.putDeployment(deployment({ key: 'b', begunAt: NOON + 1, version: 'v1.0.0' })),
          (tx) => tx.putDeployment(deployment({ key: 'other-version', version: '1.0.1' })),
          (tx) => tx.putDeployment(deployment({ key: 'one-off', oneOff: true })),
          (tx) => tx.putDeployment(deployment({ key: 'elsewhere', environment: 'test' })),
          (tx) => tx.putDeployment(deployment({ key: 'of-another', service: 'payments' })),
          (tx) => tx.putDeployment(deployment({ key: 'latest', version: 'latest' }))
        )
        const keys = async (version: string) =>
          (await ask((tx) => tx.deploymentsOfVersion({ ...ORDERS, version }, ALWAYS))).map(({ key }) => key)
        expect(await keys('1.0.0')).toEqual(['b', 'a'])
        expect(await keys('v1.0.0')).toEqual(['b', 'a'])
        expect(await keys('latest')).toEqual(['latest'])
        expect(await keys('Latest')).toEqual([])
      })

      it('are named by each of their ids; where several fit, the newest is', async () => {
        const portal = deployment({ key: 'a', portalId: 'x', begunAt: NOON + 1 })
        const ecs = deployment({ key: 'b', ecsDeploymentId: 'ecs-svc/x', begunAt: NOON + 2 })
        const definition = deployment({ key: 'c', taskDefinition: 'x', begunAt: NOON + 3 })
        const made = deployment({ key: 'd', madeId: 'x', begunAt: NOON + 4 })
        const older = deployment({ key: 'e', madeId: 'x', begunAt: NOON })
        expect(await store.deploymentNamed('x')).toBeNull()
        for (const newer of [portal, ecs, definition, made, older]) {
          await write((tx) => tx.putDeployment(newer))
          expect(await store.deploymentNamed('x')).toEqual(newer === older ? made : newer)
        }
        // The ECS id is one with its prefix, too; the others are not.
        expect(await store.deploymentNamed('ecs-svc/x')).toEqual(ecs)
        expect(await store.deploymentNamed('X')).toBeNull()
      })

      it('have their tasks in the order of lists, the newest so many', async () => {
        await putTasks(
          task({ key: 'a', createdAt: NOON, startedAt: NOON + 9 }),
          task({ key: 'b', createdAt: NOON + 5 }),
          task({ key: 'c', task: 'arn:2', createdAt: NOON + 7 }),
          task({ key: 'd', task: 'arn:1', createdAt: NOON + 7 }),
          task({ key: 'e', task: 'arn:1', createdAt: NOON + 7 }),
          task({ key: 'other', deployment: 'deployment-2' })
        )
        const keys = async (limit: number) =>
          (await store.tasksOfDeployment('deployment-1', limit)).map(({ key }) => key)
        expect(await keys(10)).toEqual(['a', 'd', 'e', 'c', 'b'])
        expect(await keys(2)).toEqual(['a', 'd'])
        expect(await store.tasksOfDeployment('none', 10)).toEqual([])
      })

      it('count their tasks by status as they are told to', async () => {
        const known = (of: string) => ask((tx) => tx.deploymentStatus('deployment-1', of))
        await write(
          (tx) => tx.putDeploymentStatus(status()),
          (tx) => tx.putDeploymentStatus(status({ count: 7, newestTask: 'task-9', deployedAt: NOON + 1 })),
          (tx) => tx.putDeploymentStatus(status({ status: 'STOPPED', count: 2 }))
        )
        expect(await known('RUNNING')).toEqual(status({ count: 7, newestTask: 'task-9', deployedAt: NOON + 1 }))
        await write((tx) => tx.removeDeploymentStatus('deployment-1', 'RUNNING'))
        expect(await known('RUNNING')).toBeNull()
        expect(await known('STOPPED')).toEqual(status({ status: 'STOPPED', count: 2 }))
      })
    })

    describe('lists', () => {
      const services = ['orders', 'payments']
      const times = [NOON, NOON + MINUTE]

      /** Tasks and requests that agree in some of what lists are ordered by, in no order. */
      async function fill() {
        const tasks = ['dev', 'test'].flatMap((environment) =>
          services.flatMap((service) =>
            ['id-1', 'id-2'].flatMap((id) =>
              times.flatMap((createdAt) =>
                ['arn:1', 'arn:2'].map((arn) => {
                  const key = `${environment} ${service} ${id} ${createdAt} ${arn}`
                  const startedAt = arn === 'arn:2' ? createdAt + 5 : null
                  const of = `${environment} ${service} ${id}`
                  return task({
                    key,
                    environment,
                    service,
                    task: arn,
                    createdAt,
                    startedAt,
                    deployment: of,
                    deploymentId: id
                  })
                })
              )
            )
          )
        )
        const deployments = [...new Map(tasks.map((one) => [one.deployment ?? '', one])).values()].map((one) =>
          deployment({
            key: one.deployment ?? '',
            environment: one.environment,
            service: one.service ?? '',
            deploymentId: one.deploymentId ?? ''
          })
        )
        const requests = ['dev', 'test'].flatMap((environment) =>
          services.map((service) =>
            request({ deploymentId: `id-1-${environment}-${service}`, environment, service, requestedAt: NOON + 5 })
          )
        )
        const { shuffled } = createRandom(7)
        await putTasks(
          ...shuffled(tasks),
          task({ key: 'unknown', service: null, version: null, deployment: null, deploymentId: null })
        )
        await write(...shuffled(deployments).map((one) => (tx: Transaction) => tx.putDeployment(one)))
        await write(...shuffled(requests).map((one) => (tx: Transaction) => tx.putRequest(one)))
        await write((tx) => tx.putRequest(request({ deploymentId: 'started', started: true })))
        return { tasks, deployments, requests }
      }

      const deployedAt = (one: TaskRecord) => one.startedAt ?? one.createdAt
      function fields(row: DeploymentRow): (string | number)[] {
        if (row.kind === 'request') {
          const { requestedAt, environment, service, deploymentId } = row.request
          return [-requestedAt, environment, service, deploymentId, '']
        }
        const { environment, service, deploymentId, task: arn } = row.task
        return [-deployedAt(row.task), environment, service ?? '', deploymentId ?? '', arn]
      }
      function inOrder(a: DeploymentRow, b: DeploymentRow): number {
        for (const [index, one] of fields(a).entries()) {
          const other = fields(b)[index] ?? ''
          const order = typeof one === 'number' ? one - Number(other) : compareText(one, String(other))
          if (order !== 0) return order
        }
        return 0
      }

      it('show a row for each task of a known service and each request that waits, in one order, on pages', async () => {
        const { tasks, deployments, requests } = await fill()
        const byKey = new Map(deployments.map((one) => [one.key, one]))
        const expected: DeploymentRow[] = [
          ...tasks.map((one) => {
            const of = byKey.get(one.deployment ?? '')
            if (of === undefined) throw new Error('a task without its deployment')
            return { kind: 'task' as const, task: one, deployment: of }
          }),
          ...requests.map((one) => ({ kind: 'request' as const, request: one }))
        ].sort(inOrder)
        expect(await store.deploymentRows({}, ALL)).toEqual({ rows: expected, total: expected.length })

        const inDev = expected.filter((row) => (row.kind === 'task' ? row.task : row.request).environment === 'dev')
        expect(await store.deploymentRows({ environment: 'dev' }, ALL)).toEqual({ rows: inDev, total: inDev.length })

        const shown: DeploymentRow[] = []
        for (let offset = 0; offset < expected.length; offset += 5) {
          const { rows, total } = await store.deploymentRows({}, { offset, limit: 5 })
          expect(total).toBe(expected.length)
          shown.push(...rows)
        }
        expect(shown).toEqual(expected)
        expect(await store.deploymentRows({}, { offset: expected.length, limit: 5 })).toEqual({
          rows: [],
          total: expected.length
        })
        expect(await store.deploymentRows({ environment: 'none' }, ALL)).toEqual({ rows: [], total: 0 })
      })

      it('say how many rows they have while tasks find and lose their service, move and go', async () => {
        const total = async (environment?: string) =>
          (await store.deploymentRows(environment === undefined ? {} : { environment }, ALL)).total
        await write((tx) => tx.putDeployment(deployment()))
        await putTasks(task({ service: null, deployment: null }))
        expect(await total()).toBe(0)
        await putTasks(task(), task(), task({ key: 'task-2' }))
        expect([await total(), await total('dev'), await total('test')]).toEqual([2, 2, 0])
        await putTasks(task({ environment: 'test' }))
        expect([await total(), await total('dev'), await total('test')]).toEqual([2, 1, 1])
        await putTasks(task({ service: null, deployment: null }))
        expect([await total(), await total('test')]).toEqual([1, 0])
        await write((tx) => tx.putRequest(request()))
        expect(await total('dev')).toBe(2)
        await write((tx) => tx.putRequest(request({ started: true })))
        expect(await total('dev')).toBe(1)
      })

      it('squash to one row for each deployment and status, newest first', async () => {
        await putTasks(
          task({ key: 'a' }),
          task({ key: 'b', status: 'STOPPED' }),
          task({ key: 'c', environment: 'test', deployment: 'deployment-2' }),
          task({ key: 'd', deployment: 'deployment-0' })
        )
        await write(
          (tx) => tx.putDeployment(deployment({ deploymentId: 'id-1' })),
          (tx) => tx.putDeployment(deployment({ key: 'deployment-2', environment: 'test', deploymentId: 'id-2' })),
          (tx) => tx.putDeployment(deployment({ key: 'deployment-0', deploymentId: 'id-1' })),
          (tx) =>
            tx.putDeploymentStatus(
              status({ deployment: 'deployment-0', newestTask: 'd', count: 5, deployedAt: NOON + 1 })
            ),
          (tx) =>
            tx.putDeploymentStatus(status({ status: 'STOPPED', newestTask: 'b', count: 3, deployedAt: NOON + 1 })),
          (tx) => tx.putDeploymentStatus(status({ newestTask: 'a', count: 2, deployedAt: NOON + 1 })),
          (tx) =>
            tx.putDeploymentStatus(
              status({ deployment: 'deployment-2', newestTask: 'c', environment: 'test', deployedAt: NOON + 2 })
            ),
          (tx) => tx.putRequest(request({ deploymentId: 'id-0', requestedAt: NOON + 1 })),
          (tx) => tx.putRequest(request({ deploymentId: 'started', started: true }))
        )
        const shown = async (environment?: string, page = ALL) => {
          const { rows, total } = await store.squashedRows(environment === undefined ? {} : { environment }, page)
          return [rows.map((row) => (row.kind === 'task' ? `${row.task.key}${row.count}` : 'request')).join(' '), total]
        }
        // Two deployments of one id: then by status, then by task.
        expect(await shown()).toEqual(['c1 request a2 d5 b3', 5])
        expect(await shown('dev')).toEqual(['request a2 d5 b3', 4])
        expect(await shown('test')).toEqual(['c1', 1])
        expect(await shown(undefined, { offset: 1, limit: 2 })).toEqual(['request a2', 5])
        const { rows } = await store.squashedRows({}, ALL)
        expect(rows.at(-1)).toEqual({
          kind: 'task',
          task: task({ key: 'b', status: 'STOPPED' }),
          deployment: deployment(),
          count: 3
        })
        await write((tx) => tx.removeDeploymentStatus('deployment-1', 'STOPPED'))
        await write((tx) => tx.removeDeploymentStatus('deployment-1', 'STOPPED'))
        expect(await shown('dev')).toEqual(['request a2 d5', 3])
      })
    })

    describe('requests', () => {
      it('come back as they were put, and are replaced under their id', async () => {
        const bare = request({ user: null, userId: null, instanceCount: null })
        await write(
          (tx) => tx.putRequest(request()),
          (tx) => tx.putRequest(bare)
        )
        expect(await ask((tx) => tx.request('request-1'))).toEqual(bare)
        expect(await store.requestNamed('request-1')).toEqual(bare)
        expect(await store.requestNamed('request-2')).toBeNull()
      })

      it('are found by service, environment and version, oldest first, and by the name that was sent', async () => {
        await write(
          (tx) => tx.putRequest(request({ deploymentId: 'b', requestedAt: NOON + 1, version: 'v1.0.0' })),
          (tx) => tx.putRequest(request({ deploymentId: 'a', requestedAt: NOON + 1 })),
          (tx) =>
            tx.putRequest(
              request({ deploymentId: 'c', requestedAt: NOON, requestedService: 'the-image', started: true })
            ),
          (tx) => tx.putRequest(request({ deploymentId: 'd', version: '1.0.1' })),
          (tx) => tx.putRequest(request({ deploymentId: 'e', environment: 'test' })),
          (tx) => tx.putRequest(request({ deploymentId: 'f', service: 'payments' }))
        )
        const ids = (found: readonly { deploymentId: string }[]) => found.map(({ deploymentId }) => deploymentId)
        expect(ids(await ask((tx) => tx.requestsOfVersion(ORDERS, ALWAYS)))).toEqual(['c', 'a', 'b'])
        const during = async (from: number, to: number) =>
          ids(await ask((tx) => tx.requestsOfVersion(ORDERS, { from, to })))
        expect(await during(NOON, NOON)).toEqual(['c'])
        expect(await during(NOON + 1, NOON + 1)).toEqual(['a', 'b'])
        expect(await during(NOON + 2, NOON + 9)).toEqual([])
        expect(ids(await ask((tx) => tx.requestsNaming('orders'))).sort()).toEqual(['a', 'b', 'd', 'e', 'f'])
        expect(ids(await ask((tx) => tx.requestsNaming('the-image')))).toEqual(['c'])
      })
    })

    describe('links and rollouts', () => {
      const link = (account: string, ecsDeploymentId: string, portalId: string) => ({
        account,
        ecsDeploymentId,
        portalId,
        user: null,
        userId: null,
        at: NOON
      })

      it('are one for each account and ECS deployment, the last that was put', async () => {
        await write(
          (tx) => tx.putLink(link('1', 'ecs-svc/1', 'p1')),
          (tx) => tx.putLink({ ...link('1', 'ecs-svc/1', 'p2'), user: 'Ann', userId: 'u-1' }),
          (tx) => tx.putLink(link('2', 'ecs-svc/1', 'p2')),
          (tx) => tx.putLink(link('1', 'ecs-svc/2', 'p3'))
        )
        const second = { ...link('1', 'ecs-svc/1', 'p2'), user: 'Ann', userId: 'u-1' }
        expect(await ask((tx) => tx.link('1', 'ecs-svc/1'))).toEqual(second)
        expect(await ask((tx) => tx.link('3', 'ecs-svc/1'))).toBeNull()
        expect(await ask((tx) => tx.linksOfPortalId('p1'))).toEqual([])
        for (const found of [await ask((tx) => tx.linksOfPortalId('p2')), await store.linksOf('p2')]) {
          expect(found).toEqual([second, link('2', 'ecs-svc/1', 'p2')])
        }
        expect(await store.linksOfEcsDeployment('ecs-svc/1')).toEqual([second, link('2', 'ecs-svc/1', 'p2')])
      })

      it('keep the last rollout of each', async () => {
        const rollout = {
          account: '1',
          ecsDeploymentId: 'ecs-svc/1',
          eventName: 'IN_PROGRESS',
          eventType: null,
          reason: null,
          at: NOON
        }
        const later = { ...rollout, eventName: 'COMPLETED', eventType: 'INFO', reason: 'r', at: NOON + 1 }
        await write(
          (tx) => tx.putRollout(rollout),
          (tx) => tx.putRollout(later)
        )
        expect(await ask((tx) => tx.rollout('1', 'ecs-svc/1'))).toEqual(later)
        expect(await store.rolloutOf('1', 'ecs-svc/1')).toEqual(later)
        expect(await store.rolloutOf('2', 'ecs-svc/1')).toBeNull()
      })
    })

    describe('service actions', () => {
      const put = (key: string, at: number, given: Partial<Parameters<typeof action>[0]> = {}) =>
        write((tx) => tx.putServiceAction(action({ key, at, ...given })))
      const keys = async (of: Parameters<typeof deployment>[0], limit = 10) =>
        (await store.serviceActionsOf(deployment(of), limit)).map(({ key }) => key)

      it('belong to the deployment that was the newest of its group there', async () => {
        const first = { key: 'd1', begunAt: NOON }
        const second = { key: 'd2', begunAt: NOON + 100 }
        await write(
          (tx) => tx.putDeployment(deployment(first)),
          (tx) => tx.putDeployment(deployment(second)),
          (tx) => tx.putDeployment(deployment({ key: 'd3', begunAt: NOON + 10, account: '1' })),
          (tx) => tx.putDeployment(deployment({ key: 'd4', begunAt: NOON + 10, group: 'service:payments' }))
        )
        await put('before', NOON - 1)
        await put('c', NOON + 99)
        await put('a', NOON)
        await put('b', NOON + 50)
        await put('second', NOON + 100)
        await put('of-another', NOON + 50, { ecsService: 'payments' })
        await put('elsewhere', NOON + 50, { account: '1' })
        expect(await keys(first)).toEqual(['a', 'b', 'c'])
        expect(await keys(first, 2)).toEqual(['b', 'c'])
        expect(await keys(second)).toEqual(['second'])
        expect(await keys({ ...first, group: null })).toEqual([])
      })

      it('are one for each key', async () => {
        await put('a', NOON)
        await put('a', NOON)
        expect(await keys({})).toEqual(['a'])
      })
    })

    describe('what runs', () => {
      it('is listed by service, then environment, of all or of one', async () => {
        const places = [
          ['payments', 'dev'],
          ['orders', 'test'],
          ['orders', 'dev']
        ] as const
        await write(
          ...places.map(
            ([service, environment]) =>
              (tx: Transaction) =>
                tx.putRunning(running({ service, environment }))
          )
        )
        const shown = async (service?: string) =>
          (await store.running(service)).map((one) => `${one.service} ${one.environment}`)
        expect(await shown()).toEqual(['orders dev', 'orders test', 'payments dev'])
        expect(await shown('orders')).toEqual(['orders dev', 'orders test'])
        expect(await shown('none')).toEqual([])
        await write((tx) => tx.removeRunning('dev', 'orders'))
        expect(await shown()).toEqual(['orders test', 'payments dev'])
      })

      it('is one record for each service and environment, the last that was put', async () => {
        const changed = running({
          runningCount: 9,
          versions: [
            { version: '2.0.0', count: 4 },
            { version: '1.0.0', count: 5 }
          ]
        })
        await write((tx) => tx.putRunning(running()))
        expect(await store.running()).toEqual([running()])
        await write((tx) => tx.putRunning(changed))
        expect(await store.running()).toEqual([changed])
        await write((tx) => tx.putRunning(running()))
        expect(await store.running('orders')).toEqual([running()])
      })
    })

    it('clearing deployments empties what the log can rebuild, and nothing else', async () => {
      await write(
        (tx) => tx.appendEvent(event()),
        (tx) => tx.putTask(task()),
        (tx) => tx.putDeployment(deployment()),
        (tx) => tx.putDeploymentStatus(status()),
        (tx) => tx.putRequest(request()),
        (tx) => tx.putLink({ account: '1', ecsDeploymentId: 'e', portalId: 'p', user: null, userId: null, at: NOON }),
        (tx) =>
          tx.putRollout({
            account: '1',
            ecsDeploymentId: 'e',
            eventName: 'n',
            eventType: null,
            reason: null,
            at: NOON
          }),
        (tx) => tx.putServiceAction(action()),
        (tx) => tx.putRunning(running()),
        (tx) => tx.putTag({ repository: 'orders', tag: '1.0.0', pushedAt: NOON, deletedAt: null }),
        (tx) => tx.putArtifact(artifact()),
        (tx) =>
          tx.putRevision({ repository: 'orders', digest: digest(1), tag: '1.0.0', service: null, resolvedAt: NOON }),
        (tx) => tx.putImage(image()),
        (tx) => tx.addScanJob(job())
      )
      await store.putLayer(layer(), [{ digest: digest(6), bytes: Buffer.from('{}') }], [])
      await store.putSetting('name', 'value')
      await store.takeLease('lease', 'me', NOON, 1_000)
      await write((tx) => tx.clearDeployments())

      expect(await store.deploymentRows({}, ALL)).toEqual({ rows: [], total: 0 })
      expect(await store.squashedRows({}, ALL)).toEqual({ rows: [], total: 0 })
      expect(await store.running()).toEqual([])
      expect(await store.tasksLiveAt(NOON)).toEqual([])
      expect(await store.requestNamed('request-1')).toBeNull()
      expect(await store.linksOf('p')).toEqual([])
      expect(await store.rolloutOf('1', 'e')).toBeNull()
      expect(await store.serviceActionsOf(deployment(), 10)).toEqual([])
      expect(await ask((tx) => tx.task('task-1'))).toBeNull()
      expect(await ask((tx) => tx.deployment('deployment-1'))).toBeNull()
      expect(await ask((tx) => tx.deploymentStatus('deployment-1', 'RUNNING'))).toBeNull()

      expect((await store.events({}, ALL)).total).toBe(1)
      expect(await store.isEventLogWhole()).toBe(true)
      expect(await store.artifacts()).toEqual([artifact()])
      expect(await ask((tx) => tx.tag('orders', '1.0.0'))).not.toBeNull()
      expect(await ask((tx) => tx.revisionsOfDigest('orders', digest(1)))).toHaveLength(1)
      expect(await store.image(digest(2))).toEqual(image())
      expect(await store.layerFile(digest(4), 'app/package.json')).not.toBeNull()
      expect((await store.countScanJobs()).queued).toBe(1)
      expect(await store.setting('name')).toBe('value')
      expect(await store.leases('', NOON)).toHaveLength(1)
    })

    describe('artifacts', () => {
      it('come back as they were put, deleted ones too, and are replaced under their tag', async () => {
        const placeholder = artifact({
          tag: '0.0.0',
          digest: null,
          manifestDigest: null,
          configDigest: null,
          service: null,
          gitUrl: null,
          placeholder: true,
          deletedAt: NOON
        })
        await write(
          (tx) => tx.putArtifact(artifact({ scan: 'pending' })),
          (tx) => tx.putArtifact(artifact()),
          (tx) => tx.putArtifact(placeholder)
        )
        expect(await store.artifact('orders', '1.0.0')).toEqual(artifact())
        expect(await ask((tx) => tx.artifact('orders', '1.0.0'))).toEqual(artifact())
        expect(await store.artifact('orders', '0.0.0')).toEqual(placeholder)
        expect(await store.artifact('orders', '2.0.0')).toBeNull()
        expect(await store.artifact('Orders', '1.0.0')).toBeNull()
      })

      it('are listed by name, then newest version first, without those that were deleted', async () => {
        const tags = ['1.0.0', '10.0.0', '9.9.9', 'v9.9.9', '70000.0.0', '123456789012345678901.0.0', 'latest', '0.0.0']
        await write(
          ...createRandom(3)
            .shuffled(tags)
            .map((tag) => (tx: Transaction) => tx.putArtifact(artifact({ tag }))),
          (tx) => tx.putArtifact(artifact({ tag: '99.0.0', deletedAt: NOON })),
          (tx) => tx.putArtifact(artifact({ repository: 'orders-two' })),
          (tx) => tx.putArtifact(artifact({ repository: 'a/team' }))
        )
        const ofOrders = [
          '123456789012345678901.0.0',
          '70000.0.0',
          '10.0.0',
          'v9.9.9',
          '9.9.9',
          '1.0.0',
          '0.0.0',
          'latest'
        ]
        expect((await store.artifacts('orders')).map(({ tag }) => tag)).toEqual(ofOrders)
        expect((await store.artifacts()).map(({ repository, tag }) => `${repository}:${tag}`)).toEqual([
          'a/team:1.0.0',
          ...ofOrders.map((tag) => `orders:${tag}`),
          'orders-two:1.0.0'
        ])
        expect(await store.artifacts('none')).toEqual([])
      })

      it('stand for their service by the highest version, a placeholder last', async () => {
        await write(
          (tx) => tx.putArtifact(artifact({ tag: '9.9.9' })),
          (tx) => tx.putArtifact(artifact({ tag: '10.0.0' })),
          (tx) => tx.putArtifact(artifact({ tag: '99.0.0', deletedAt: NOON })),
          (tx) => tx.putArtifact(artifact({ tag: '11.0.0', service: null })),
          (tx) =>
            tx.putArtifact(artifact({ repository: 'search', tag: '0.0.0', service: 'search', placeholder: true })),
          (tx) => tx.putArtifact(artifact({ repository: 'mail', tag: '0.0.0', service: 'mail', placeholder: true })),
          (tx) => tx.putArtifact(artifact({ repository: 'mailer', tag: 'latest', service: 'mail' })),
          (tx) => tx.putArtifact(artifact({ repository: 'gone', service: 'gone', deletedAt: NOON }))
        )
        const shown = async (service?: string) =>
          (await store.newestArtifacts(service)).map((one) => `${one.service} ${one.repository}:${one.tag}`)
        expect(await shown()).toEqual(['mail mailer:latest', 'orders orders:10.0.0', 'search search:0.0.0'])
        expect(await shown('orders')).toEqual(['orders orders:10.0.0'])
        expect(await shown('gone')).toEqual([])
        expect(await shown('none')).toEqual([])
      })

      it('make an image deployable that has a label and a release tag, and is not deleted', async () => {
        await write(
          (tx) => tx.putArtifact(artifact({ repository: 'b' })),
          (tx) => tx.putArtifact(artifact({ repository: 'b', tag: '2.0.0' })),
          (tx) => tx.putArtifact(artifact({ repository: 'a', tag: '0.0.0', placeholder: true })),
          (tx) => tx.putArtifact(artifact({ repository: 'no-release', tag: 'latest' })),
          (tx) => tx.putArtifact(artifact({ repository: 'no-label', service: null })),
          (tx) => tx.putArtifact(artifact({ repository: 'deleted', deletedAt: NOON }))
        )
        expect(await store.deployableImages()).toEqual(['a', 'b'])
      })

      it('tell which service an image is, and which services there are', async () => {
        await write(
          (tx) => tx.putArtifact(artifact({ tag: '9.0.0', service: 'old-name' })),
          (tx) => tx.putArtifact(artifact({ tag: '10.0.0', service: 'new-name', deletedAt: NOON })),
          (tx) => tx.putArtifact(artifact({ tag: '11.0.0', service: null }))
        )
        expect((await ask((tx) => tx.newestArtifactOfImage('orders')))?.service).toBe('new-name')
        expect(await ask((tx) => tx.newestArtifactOfImage('none'))).toBeNull()
        expect(await ask((tx) => tx.isServiceKnown('new-name'))).toBe(true)
        expect(await ask((tx) => tx.isServiceKnown('orders'))).toBe(false)
      })

      it('are found by the manifest that they name', async () => {
        await write(
          (tx) => tx.putArtifact(artifact({ tag: '2.0.0' })),
          (tx) => tx.putArtifact(artifact({ repository: 'a' })),
          (tx) => tx.putArtifact(artifact({ tag: '1.0.0' })),
          (tx) => tx.putArtifact(artifact({ tag: '3.0.0', manifestDigest: digest(9) }))
        )
        const found = await ask((tx) => tx.artifactsOfManifest(digest(2)))
        expect(found.map(({ repository, tag }) => `${repository}:${tag}`).sort()).toEqual([
          'a:1.0.0',
          'orders:1.0.0',
          'orders:2.0.0'
        ])
      })
    })

    it('a digest keeps every tag that it had in a repository', async () => {
      const revision = (repository: string, n: number, tag: string, service: string | null = 'orders') => ({
        repository,
        digest: digest(n),
        tag,
        service,
        resolvedAt: NOON
      })
      await write(
        (tx) => tx.putRevision(revision('orders', 1, '2.0.0')),
        (tx) => tx.putRevision(revision('orders', 1, '1.0.0', null)),
        (tx) => tx.putRevision(revision('orders', 1, '1.0.0')),
        (tx) => tx.putRevision(revision('orders', 2, '3.0.0')),
        (tx) => tx.putRevision(revision('payments', 1, '4.0.0'))
      )
      const found = await ask((tx) => tx.revisionsOfDigest('orders', digest(1)))
      expect(found).toHaveLength(2)
      expect(found).toEqual(expect.arrayContaining([revision('orders', 1, '1.0.0'), revision('orders', 1, '2.0.0')]))
      expect(await ask((tx) => tx.revisionsOfDigest('orders', digest(9)))).toEqual([])
    })

    it('a tag keeps when it was pushed and deleted', async () => {
      expect(await ask((tx) => tx.tag('orders', '1.0.0'))).toBeNull()
      const said = { repository: 'orders', tag: '1.0.0', pushedAt: null, deletedAt: NOON }
      await write((tx) => tx.putTag(said))
      expect(await ask((tx) => tx.tag('orders', '1.0.0'))).toEqual(said)
      await write((tx) => tx.putTag({ ...said, pushedAt: 0 }))
      expect(await ask((tx) => tx.tag('orders', '1.0.0'))).toEqual({ ...said, pushedAt: 0 })
    })

    describe('images and layers', () => {
      it('come back as they were put', async () => {
        await write((tx) => tx.putImage(image({ scan: 'pending' })))
        await write((tx) => tx.putImage(image()))
        expect(await store.image(digest(2))).toEqual(image())
        expect(await ask((tx) => tx.image(digest(2)))).toEqual(image())
        expect(await store.image(digest(9))).toBeNull()
      })

      it('keep labels of any name', async () => {
        const labels = Object.fromEntries(
          ['org.opencontainers.image.title', '$where', 'a b', '', '__proto__', 'constructor', 'é👍'].map((name) => [
            name,
            `of ${name}`
          ])
        )
        expect(Object.keys(labels)).toContain('__proto__')
        await write((tx) => tx.putImage(image({ labels })))
        const kept = (await store.image(digest(2)))?.labels ?? {}
        expect(Object.entries(kept).sort()).toEqual(Object.entries(labels).sort())
      })

      it('keep a layer with its files and what was found in them', async () => {
        const found = {
          content: digest(6),
          extractor: 'npm-package-json',
          extractorVersion: 2,
          packages: [
            {
              purl: 'pkg:npm/a@1',
              type: 'npm',
              namespace: null,
              name: 'a',
              version: '1',
              evidence: 'installed' as const
            }
          ],
          error: null
        }
        const unread = { ...found, extractorVersion: 1, packages: [], error: 'why' }
        await store.putLayer(layer(), [{ digest: digest(6), bytes: Buffer.from('{}') }], [found, unread])
        const kept = await store.layer(digest(4))
        expect({ ...kept, listing: [...(kept?.listing ?? [])] }).toEqual({ ...layer(), listing: [0, 1, 255] })
        expect(await store.extractions([digest(9), digest(6)])).toEqual([unread, found])
        expect(await store.extractions([])).toEqual([])
        expect(Buffer.from((await store.layerFile(digest(4), 'app/package.json')) ?? []).toString()).toBe('{}')
        expect(await store.layerFile(digest(4), 'app')).toBeNull()
        expect(await store.layerFile(digest(4), 'App/package.json')).toBeNull()
        expect(await store.layerFile(digest(9), 'app/package.json')).toBeNull()
        expect(await store.layer(digest(9))).toBeNull()
      })

      it('share contents, and take a layer again without a change', async () => {
        const put = () => store.putLayer(layer(), [{ digest: digest(6), bytes: Buffer.from('{}') }], [])
        const before = [await put(), await store.layer(digest(4))][1]
        await put()
        expect(await store.layer(digest(4))).toEqual(before)
        // Another layer with that content does not bring it again.
        const other = layer({ digest: digest(7), files: [{ path: 'b', content: digest(6), size: 2, mode: 0o600 }] })
        await store.putLayer(other, [], [])
        expect(Buffer.from((await store.layerFile(digest(7), 'b')) ?? []).toString()).toBe('{}')
      })

      it('take a layer anew that a newer reader has read', async () => {
        const bytes = Buffer.from('{}')
        await store.putLayer(layer(), [{ digest: digest(6), bytes }], [])
        const files = [{ path: 'pom.xml', content: digest(8), size: 3, mode: 0o644 }]
        await store.putLayer(
          layer({ scannerVersion: 2, files }),
          [{ digest: digest(8), bytes: Buffer.from('<a>') }],
          []
        )
        expect(await store.layer(digest(4))).toMatchObject({ scannerVersion: 2, files })
        expect(Buffer.from((await store.layerFile(digest(4), 'pom.xml')) ?? []).toString()).toBe('<a>')
      })

      it('hold an empty content, one of every byte, and one of 15 MiB', async () => {
        const every = Uint8Array.from({ length: 256 }, (_, byte) => byte)
        const large = Buffer.alloc(15 * MiB, 'large')
        const contents = [new Uint8Array(0), every, large].map((bytes, index) => ({
          digest: digest(100 + index),
          bytes
        }))
        const files = contents.map((content, index) => ({
          path: `file-${index}`,
          content: content.digest,
          size: content.bytes.length,
          mode: 0o644
        }))
        await store.putLayer(layer({ files }), contents, [])
        for (const { path, content } of files) {
          const bytes = await store.layerFile(digest(4), path)
          expect(bytes).not.toBeNull()
          expect(
            Buffer.compare(
              bytes ?? Buffer.from('none'),
              contents.find((one) => one.digest === content)?.bytes ?? Buffer.of(0)
            )
          ).toBe(0)
        }
      })

      it('are found by the paths of links too, where the layer has nothing else there', async () => {
        const files = [{ path: 'app/package.json', content: digest(5), size: 2, mode: 0o644 }]
        const contents = [
          { digest: digest(5), bytes: Buffer.from('{}') },
          { digest: digest(6), bytes: Buffer.from('[]') }
        ]
        await store.putLayer(layer({ files }), contents, [])
        const linked = (path: string) => ({ path, layer: digest(4), content: digest(6) })
        await store.putLinkedFiles([linked('app/link.json'), linked('app/package.json')])
        await store.putLinkedFiles([linked('app/link.json')])
        const text = async (path: string) => Buffer.from((await store.layerFile(digest(4), path)) ?? []).toString()
        expect(await text('app/link.json')).toBe('[]')
        expect(await text('app/package.json')).toBe('{}')
      })

      it('hold an image of 20,000 files', async () => {
        const files = Array.from({ length: 20_000 }, (_, index) => ({
          path: `home/node/app/node_modules/package-${index}/a/rather/long/path/as/they/come/package.json`,
          layer: digest(4),
          content: digest(index),
          size: index
        }))
        await write((tx) => tx.putImage(image({ files })))
        expect((await store.image(digest(2)))?.files).toEqual(files)
        // And the layer that they come from, whose listing has megabytes of its own.
        const ofLayer = files.map(({ path, content, size }) => ({ path, content, size, mode: 0o644 }))
        await store.putLayer(layer({ files: ofLayer, listing: Buffer.alloc(5 * MiB, 'l') }), [], [])
        const kept = await store.layer(digest(4))
        expect(kept?.files).toEqual(ofLayer)
        expect(kept?.listing.length).toBe(5 * MiB)
      })
    })

    describe('scan jobs', () => {
      const LEASE_MS = 1_000
      const add = (given: Parameters<typeof job>[0] = {}) => ask((tx) => tx.addScanJob(job(given)))
      const put = (one: ScanJob) => write((tx) => tx.putScanJob(one))
      const lease = (now: number, owner = 'me') => store.leaseScanJob(owner, now, LEASE_MS)
      const free = { leaseOwner: null, leaseUntil: null }
      async function known(id: number): Promise<ScanJob> {
        const found = await store.scanJob(id)
        if (found === null) throw new Error(`no job ${id}`)
        return found
      }

      it('wait as they were added, due at once', async () => {
        const id = await add({ digestHint: 'sha256:hint', cause: 'admin' })
        const expected: ScanJob = {
          id,
          repository: 'orders',
          tag: '1.0.0',
          causes: ['admin'],
          digestHint: 'sha256:hint',
          state: 'queued',
          requestedAt: NOON,
          dueAt: NOON,
          attempts: 0,
          lapses: 0,
          leaseOwner: null,
          leaseUntil: null,
          token: 0,
          errorCode: null,
          error: null,
          note: null,
          endedAt: null
        }
        expect(await store.scanJob(id)).toEqual(expected)
        expect(await ask((tx) => tx.scanJob(id))).toEqual(expected)
        expect(await ask((tx) => tx.waitingScanJob('orders', '1.0.0'))).toEqual(expected)
        expect(await ask((tx) => tx.waitingScanJob('orders', '2.0.0'))).toBeNull()
        expect(await store.scanJob(id + 1)).toBeNull()
      })

      it('serve everybody who asks for a tag while they wait', async () => {
        const id = await add({ digestHint: 'sha256:first' })
        const leased = await lease(NOON)
        // It failed, and waits for its third attempt.
        await put({
          ...(leased as ScanJob),
          ...free,
          state: 'queued',
          attempts: 2,
          dueAt: NOON + MINUTE,
          errorCode: 'x',
          error: 'y'
        })
        expect(await add({ cause: 'admin', requestedAt: NOON + 5 })).toBe(id)
        expect(await known(id)).toMatchObject({
          causes: ['push', 'admin'],
          digestHint: 'sha256:first',
          requestedAt: NOON + 5,
          dueAt: NOON + 5,
          attempts: 0,
          errorCode: null,
          error: null,
          token: 1
        })
        expect(await add({ digestHint: 'sha256:second', requestedAt: NOON + 9 })).toBe(id)
        // Never later than it was due before.
        expect(await known(id)).toMatchObject({
          causes: ['push', 'admin'],
          digestHint: 'sha256:second',
          dueAt: NOON + 5
        })
        expect((await store.scanJobs(undefined, ALL)).total).toBe(1)
        expect(await add({ tag: '2.0.0' })).not.toBe(id)
        expect(await add({ repository: 'payments' })).not.toBe(id)
      })

      it('do not serve who asks while they are worked on or have ended: that is a new job', async () => {
        const first = await add()
        const leased = (await lease(NOON)) as ScanJob
        const second = await add()
        expect(second).not.toBe(first)
        expect((await ask((tx) => tx.waitingScanJob('orders', '1.0.0')))?.id).toBe(second)
        await put({ ...leased, ...free, state: 'done', endedAt: NOON })
        await put({ ...(await known(second)), state: 'failed', endedAt: NOON })
        expect([first, second]).not.toContain(await add())
      })

      it('are leased in the order in which they are due', async () => {
        const later = await add({ tag: '1.0.0', requestedAt: NOON + 2 })
        const sooner = await add({ tag: '2.0.0', requestedAt: NOON + 1 })
        const tied = await add({ tag: '3.0.0', requestedAt: NOON + 2 })
        expect(await lease(NOON)).toBeNull()
        expect((await lease(NOON + 10))?.id).toBe(sooner)
        expect((await lease(NOON + 10))?.id).toBe(later)
        expect((await lease(NOON + 10))?.id).toBe(tied)
        expect(await lease(NOON + 10)).toBeNull()
      })

      it('are leased at the moment they are due', async () => {
        await add()
        expect(await lease(NOON - 1)).toBeNull()
        expect(await lease(NOON)).not.toBeNull()
      })

      it('say who works on them, until when, at which attempt', async () => {
        const id = await add()
        const leased = await lease(NOON, 'me')
        expect(leased).toMatchObject({
          id,
          state: 'running',
          leaseOwner: 'me',
          leaseUntil: NOON + LEASE_MS,
          token: 1,
          attempts: 1,
          lapses: 0
        })
        expect(await store.scanJob(id)).toEqual(leased)
      })

      it('are taken from who let the lease run out, before any that waits', async () => {
        const id = await add()
        await lease(NOON, 'gone')
        await add({ tag: '2.0.0' })
        const waiting = (await lease(NOON + LEASE_MS - 1, 'me'))?.id
        expect(waiting).not.toBe(id)
        await add({ tag: '3.0.0', requestedAt: NOON - MINUTE })
        expect(await lease(NOON + LEASE_MS, 'me')).toMatchObject({
          id,
          leaseOwner: 'me',
          token: 2,
          attempts: 2,
          lapses: 1
        })
      })

      it('are kept while the lease is renewed, by nobody with an older token', async () => {
        const id = await add()
        const first = (await lease(NOON, 'gone')) as ScanJob
        expect(await store.renewScanJob(id, first.token, NOON + 2 * LEASE_MS)).toBe(true)
        expect(await lease(NOON + LEASE_MS)).toBeNull()
        expect((await known(id)).leaseUntil).toBe(NOON + 2 * LEASE_MS)
        const second = (await lease(NOON + 2 * LEASE_MS, 'me')) as ScanJob
        expect(await store.renewScanJob(id, first.token, NOON + 9 * LEASE_MS)).toBe(false)
        expect(await known(id)).toEqual(second)
        await put({ ...second, ...free, state: 'done', endedAt: NOON })
        expect(await store.renewScanJob(id, second.token, NOON + 9 * LEASE_MS)).toBe(false)
        expect(await store.renewScanJob(id + 1, 1, NOON)).toBe(false)
        expect(await known(id)).toMatchObject({ state: 'done', leaseUntil: null })
      })

      it('go to one of several who ask at once', async () => {
        await add()
        const leases = await Promise.all(['a', 'b', 'c', 'd'].map((owner) => lease(NOON, owner)))
        expect(leases.filter((leased) => leased !== null)).toHaveLength(1)
      })

      it('tell when there is something to do next', async () => {
        expect(await store.nextScanJobDue()).toBeNull()
        await add({ requestedAt: NOON + 50 })
        await add({ tag: '2.0.0', requestedAt: NOON + 70 })
        expect(await store.nextScanJobDue()).toBe(NOON + 50)
        await lease(NOON + 50)
        expect(await store.nextScanJobDue()).toBe(NOON + 70)
        const last = (await lease(NOON + 70)) as ScanJob
        expect(await store.nextScanJobDue()).toBe(NOON + 50 + LEASE_MS)
        await put({ ...last, ...free, state: 'done' })
        await put({ ...((await lease(NOON + 50 + LEASE_MS)) as ScanJob), ...free, state: 'failed' })
        expect(await store.nextScanJobDue()).toBeNull()
      })

      it('are listed newest first, counted by state, and keep every field', async () => {
        const ids: number[] = []
        for (const [index, state] of JOB_STATES.entries()) {
          const id = await add({ tag: `${index}.0.0` })
          ids.push(id)
          await put({
            ...(await known(id)),
            state,
            errorCode: 'not-found',
            error: 'e',
            note: 'n',
            endedAt: NOON,
            lapses: 2,
            token: 9
          })
        }
        const shown = async (state: Parameters<Store['scanJobs']>[0], page = ALL) => {
          const { rows, total } = await store.scanJobs(state, page)
          return [rows.map(({ id }) => id), total]
        }
        expect(await shown(undefined)).toEqual([ids.toReversed(), 5])
        expect(await shown(undefined, { offset: 1, limit: 2 })).toEqual([ids.toReversed().slice(1, 3), 5])
        expect(await shown('failed')).toEqual([[ids[JOB_STATES.indexOf('failed')]], 1])
        expect(await store.countScanJobs()).toEqual({ queued: 1, running: 1, done: 1, failed: 1, cancelled: 1 })
        expect(await known(ids[2] ?? 0)).toMatchObject({
          errorCode: 'not-found',
          error: 'e',
          note: 'n',
          endedAt: NOON,
          lapses: 2,
          token: 9
        })
      })
    })

    describe('leases', () => {
      it('are held by one owner at a time, who may renew', async () => {
        expect(await store.takeLease('a', 'me', NOON, 100)).toBe(true)
        expect(await store.takeLease('a', 'you', NOON + 99, 100)).toBe(false)
        expect(await store.takeLease('a', 'me', NOON + 50, 100)).toBe(true)
        expect(await store.takeLease('a', 'you', NOON + 149, 100)).toBe(false)
        expect(await store.takeLease('b', 'you', NOON, 100)).toBe(true)
        expect(await store.takeLease('a', 'you', NOON + 150, 100)).toBe(true)
        expect(await store.takeLease('a', 'me', NOON + 150, 100)).toBe(false)
      })

      it('end when their owner lets go, and nobody else', async () => {
        await store.takeLease('a', 'me', NOON, 100)
        await store.releaseLease('a', 'you')
        expect(await store.takeLease('a', 'you', NOON, 100)).toBe(false)
        await store.releaseLease('a', 'me')
        expect(await store.takeLease('a', 'you', NOON, 100)).toBe(true)
      })

      it('are listed by how their names begin, until they run out', async () => {
        await store.takeLease('serving/b', 'b', NOON, 100)
        await store.takeLease('serving/a', 'a', NOON, 50)
        await store.takeLease('serving', 's', NOON, 100)
        await store.takeLease('Serving/c', 'c', NOON, 100)
        await store.takeLease('xserving/d', 'd', NOON, 100)
        const names = async (prefix: string, now: number) =>
          (await store.leases(prefix, now)).map((lease) => lease.name)
        expect(await store.leases('serving/', NOON)).toEqual([
          { name: 'serving/a', owner: 'a', until: NOON + 50 },
          { name: 'serving/b', owner: 'b', until: NOON + 100 }
        ])
        expect(await names('serving/', NOON + 50)).toEqual(['serving/b'])
        expect(await names('serving/', NOON + 100)).toEqual([])
        expect(await names('serving_', NOON)).toEqual([])
        expect(await names('serv%', NOON)).toEqual([])
      })
    })

    it('a setting is what it was last set to, and can be forgotten', async () => {
      expect(await store.setting('a')).toBeNull()
      await store.putSetting('a', '1')
      await store.putSetting('a', '')
      await store.putSetting('b', '2')
      expect([await store.setting('a'), await store.setting('b')]).toEqual(['', '2'])
      await store.putSetting('a', null)
      await store.putSetting('a', null)
      expect([await store.setting('a'), await store.setting('b')]).toEqual([null, '2'])
    })

    describe('values', () => {
      it.each([0, -1, -62_135_596_800_000, NOON + 1, 253_402_387_140_000, 8.64e15])(
        'keep the time %d to the millisecond',
        async (at) => {
          await putTasks(
            task({
              createdAt: at,
              startedAt: at,
              stoppedAt: at,
              latest: { ...task().latest, at, version: Number.MAX_SAFE_INTEGER }
            })
          )
          const kept = await ask((tx) => tx.task('task-1'))
          expect(kept).toMatchObject({ createdAt: at, startedAt: at, stoppedAt: at })
          expect(kept?.latest).toMatchObject({ at, version: Number.MAX_SAFE_INTEGER })
          await write((tx) => tx.appendEvent(event({ time: at, sentAt: at, receivedAt: at })))
          expect((await store.eventsAfter(0, 1))[0]).toMatchObject({ time: at, sentAt: at, receivedAt: at })
        }
      )

      const texts = {
        'that is SQL': "'; DROP TABLE tasks; --",
        'that is a pattern': '%_*?',
        'with a NUL': 'a\u0000b',
        'beyond ASCII': 'é👍\u2028',
        'of blanks': '  ',
        'that is an operator': '$where',
        'with a dot': 'a.b',
        'of 200,000 characters': 'x'.repeat(200_000)
      }
      it.each(Object.entries(texts))('keep and find a text %s', async (_, text) => {
        // What is found by is not as long as what is only kept.
        const name = text.slice(0, 300)
        await putTasks(
          task({ key: name, slot: name, environment: name, service: name, deployment: name, image: text }),
          task({ key: 'other' })
        )
        await write((tx) => tx.putDeployment(deployment({ key: name, environment: name, madeId: name, user: text })))
        await write((tx) => tx.appendEvent(event({ key: name, source: name, body: text })))
        await store.putSetting(name, text)
        expect((await ask((tx) => tx.task(name)))?.image).toBe(text)
        expect((await store.deploymentRows({ environment: name }, ALL)).rows).toHaveLength(1)
        expect((await ask((tx) => tx.liveTasks(name, name))).map(({ key }) => key)).toEqual([name])
        expect((await store.deploymentNamed(name))?.user).toBe(text)
        expect((await store.events({ source: name }, ALL)).rows).toMatchObject([{ body: text, source: name }])
        expect(await store.setting(name)).toBe(text)
      })

      it('tell texts apart that some orders take for one', async () => {
        // Names are compared by code unit: no case is folded, no accent dropped, no blank trimmed.
        const names = ['a', 'A', 'a ', 'á', 'a\u0301', '']
        await write(
          ...names.map((service) => (tx: Transaction) => tx.putRunning(running({ service, environment: 'dev' })))
        )
        expect((await store.running()).map(({ service }) => service)).toEqual([...names].sort(compareText))
        for (const name of names) expect(await store.running(name)).toHaveLength(1)
      })
    })

    it('answers while it is open, and says which store it is', async () => {
      await store.ping()
      expect(store.description).toMatch(/\S/)
      expect(store.description).not.toMatch(/@|password/)
    })

    it('can be closed twice, and refuses every call from then on', async () => {
      await store.close()
      await store.close()
      const calls = [
        store.ping(),
        store.transact((tx) => tx.task('a')),
        store.running(),
        store.putSetting('a', 'b'),
        store.leaseScanJob('me', NOON, 1),
        store.putLayer(layer(), [], [])
      ]
      for (const outcome of await Promise.allSettled(calls)) {
        expect(outcome.status).toBe('rejected')
        const { reason } = outcome as PromiseRejectedResult
        expect(reason).toBeInstanceOf(StoreError)
        expect(reason).toMatchObject({ code: 'unavailable' })
      }
    })
  })
}

const keyOfRow = (row: DeploymentRow) => (row.kind === 'task' ? row.task.key : row.request.deploymentId)
