import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTestApi, type TestApi } from '../../../test/api.ts'
import type { Store } from '../port.ts'
import { MIGRATIONS } from './migrations.ts'
import { createSqliteStore } from './sqlite.ts'

const ALL = { offset: 0, limit: 100_000 }

/** Totals are kept as rows come and go; here they are compared with what is there. */
async function expectTotalsToBeTrue(store: Store): Promise<void> {
  for (const filter of [{}, { environment: 'dev' }, { environment: 'prod' }, { environment: 'nowhere' }]) {
    for (const list of [store.deploymentRows, store.squashedRows]) {
      const { rows, total } = await list(filter, ALL)
      expect(total).toBe(rows.length)
    }
  }
  for (const outcome of [undefined, 'done', 'rejected', 'ignored'] as const) {
    for (const source of [undefined, 'aws.ecs', 'aws.ecr', 'cdp.portal']) {
      const filter = { ...(outcome === undefined ? {} : { outcome }), ...(source === undefined ? {} : { source }) }
      const { rows, total } = await store.events(filter, ALL)
      expect(total).toBe(rows.length)
    }
  }
}

describe('the totals of lists', () => {
  let api: TestApi
  beforeEach(() => {
    api = createTestApi()
  })
  afterEach(() => api.close())

  it('are those of the rows, whatever comes, twice, unknown at first or replaced, and after all is cleared', async () => {
    const story = fc.record({
      environment: fc.constantFrom('dev' as const, 'prod' as const),
      image: fc.constantFrom('foo:1.0.0', 'bar:1.0.0', 'unlabelled:1.0.0'),
      task: fc.constantFrom('a', 'b', 'c'),
      startedBy: fc.constantFrom(null, 'ecs-svc/1', 'ecs-svc/2'),
      status: fc.constantFrom('PENDING', 'RUNNING', 'STOPPED'),
      version: fc.nat(5),
      created: fc.nat(30)
    })
    await fc.assert(
      fc.asyncProperty(fc.array(story, { maxLength: 12 }), async (stories) => {
        for (const [index, one] of stories.entries()) {
          await api.task(one)
          if (index % 4 === 3) await api.send('not JSON')
          if (index === 5)
            await api.post('/deployments', { service: 'foo', version: '1.0.0', environment: one.environment })
        }
        await expectTotalsToBeTrue(api.store)
        await api.image('foo', '1.0.0')
        await api.image('bar', '1.0.0')
        await api.image('unlabelled', '1.0.0', { service: null })
        await expectTotalsToBeTrue(api.store)
        const [newest] = (await api.store.events({}, { offset: 0, limit: 1 })).rows
        if (newest !== undefined) {
          await api.store.transact((tx) => tx.reviseEvent(newest.sequence, 'ignored', 'a test says so'))
          await expectTotalsToBeTrue(api.store)
        }
        await api.store.transact((tx) => tx.clearDeployments())
        await expectTotalsToBeTrue(api.store)
        expect((await api.store.deploymentRows({}, ALL)).total).toBe(0)
      }),
      { numRuns: 25 }
    )
  })
})

describe('a file of the schema before totals were kept', () => {
  const folder = mkdtempSync(join(tmpdir(), 'totals-'))
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it('has them counted when it is opened', async () => {
    const path = join(folder, 'old.db')
    const old = new DatabaseSync(path)
    old.exec(`${MIGRATIONS[0]}; PRAGMA user_version = 1;`)
    const task = old.prepare(
      `INSERT INTO tasks (key, slot, slot_order, repository, environment, service, status, one_off, created_at, deployed_at, task, doc)
       VALUES (?, '', '', '', ?, ?, '', 0, 0, 0, '', '{}')`
    )
    for (const [key, environment, service] of [
      ['1', 'dev', 'foo'],
      ['2', 'dev', 'foo'],
      ['3', 'prod', 'foo'],
      ['4', 'dev', null]
    ] as const) {
      task.run(key, environment, service)
    }
    old.exec(
      `INSERT INTO deployment_statuses VALUES ('d', 'RUNNING', 'dev', 2, '1', 0), ('e', 'RUNNING', 'test', 1, '3', 0)`
    )
    const event = old.prepare(
      `INSERT INTO events (key, channel, source, time, sent_at, received_at, message_id, body, outcome)
       VALUES (?, 'ecs', ?, 0, 0, 0, '', '', ?)`
    )
    for (const [key, source, outcome] of [
      ['1', null, 'rejected'],
      ['2', 'aws.ecs', 'done'],
      ['3', 'aws.ecs', 'done']
    ] as const) {
      event.run(key, source, outcome)
    }
    old.close()
    const store = createSqliteStore(path)
    const none = { offset: 0, limit: 0 }
    expect((await store.deploymentRows({}, none)).total).toBe(3)
    expect((await store.deploymentRows({ environment: 'dev' }, none)).total).toBe(2)
    expect((await store.squashedRows({ environment: 'test' }, none)).total).toBe(1)
    expect((await store.events({}, none)).total).toBe(3)
    expect((await store.events({ source: 'aws.ecs' }, none)).total).toBe(2)
    await store.close()
  })
})
