import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { deployment, request, status, task } from '../../../test/contract/records.ts'
import type { Store } from '../port.ts'
import { createSqliteStore } from './sqlite.ts'

const ORDERS = { environment: 'dev', service: 'orders', version: '1.0.0' }

let folder: string
let store: Store
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cdp-plans-'))
  const path = join(folder, 'cdp.db')
  // Something to find, so that no call ends before its last query.
  const filled = createSqliteStore(path)
  await filled.transact(function* (tx) {
    yield* tx.putTask(task())
    yield* tx.putDeployment(deployment())
    yield* tx.putDeploymentStatus(status())
    yield* tx.putRequest(request())
  })
  await filled.close()
  store = createSqliteStore(path)
})
afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

/** The plans of the statements that a call runs, a line each: https://sqlite.org/eqp.html */
async function plansOf(call: () => Promise<unknown>): Promise<{ sql: string; steps: string[] }[]> {
  const prepare = vi.spyOn(DatabaseSync.prototype, 'prepare')
  await call()
  const statements = prepare.mock.calls.map(([sql]) => sql)
  prepare.mockRestore()
  const connection = new DatabaseSync(join(folder, 'cdp.db'))
  const plans = statements.map((sql) => ({
    sql,
    steps: connection
      .prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .all()
      .map(({ detail }) => String(detail))
  }))
  connection.close()
  return plans
}

// Small whatever the history: what runs now, the totals of each environment, jobs that wait.
const SMALL = ['running', 'list_totals', 'event_totals']

/** What costs more as history grows: reading a table or an index whole, or sorting what was read. */
function dear(steps: readonly string[], ofIndexes: RegExp): string[] {
  return steps.filter((step) => {
    const scanned = /^SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?/.exec(step)
    if (scanned !== null) {
      const [, table = '', index = ''] = scanned
      return !SMALL.includes(table) && !ofIndexes.test(index) && !/^\(?subquery|^CONSTANT/.test(table)
    }
    return /USE TEMP B-TREE FOR (?!LAST)/.test(step)
  })
}

const PAGE = { offset: 0, limit: 20 }
// An index that has the order of the list is walked from its beginning, and left after a page.
const IN_ORDER = /_newest$|^requests_waiting/

const reads: Record<string, (store: Store) => Promise<unknown>> = {
  deploymentRows: (of) => of.deploymentRows({}, PAGE),
  'deploymentRows of an environment': (of) => of.deploymentRows({ environment: 'dev' }, PAGE),
  squashedRows: (of) => of.squashedRows({}, PAGE),
  'squashedRows of an environment': (of) => of.squashedRows({ environment: 'dev' }, PAGE),
  running: (of) => of.running(),
  'running of one service': (of) => of.running('orders'),
  deploymentNamed: (of) => of.deploymentNamed('id'),
  tasksOfDeployment: (of) => of.tasksOfDeployment('deployment-1', 20),
  serviceActionsOf: (of) =>
    of.serviceActionsOf(
      { account: '1', group: 'service:orders', begunAt: 0 } as Parameters<Store['serviceActionsOf']>[0],
      20
    ),
  'events of an outcome': (of) => of.events({ outcome: 'rejected' }, PAGE),
  eventsAfter: (of) => of.eventsAfter(0, 500),
  leaseScanJob: (of) => of.leaseScanJob('me', 0, 1),
  nextScanJobDue: (of) => of.nextScanJobDue(),
  task: (of) => of.transact((tx) => tx.task('t')),
  slotNeighbours: (of) => of.transact((tx) => tx.slotNeighbours('s', '1', 'k')),
  tasksOfImage: (of) => of.transact((tx) => tx.tasksOfImage('r', '1.0.0', ['sha256:a', 'sha256:b'])),
  liveTasks: (of) => of.transact((tx) => tx.liveTasks('dev', 'orders')),
  deploymentExtent: (of) => of.transact((tx) => tx.deploymentExtent('deployment-1')),
  newestTaskInStatus: (of) => of.transact((tx) => tx.newestTaskInStatus('deployment-1', 'RUNNING')),
  putTask: (of) => of.transact((tx) => tx.putTask(task({ status: 'STOPPED' }))),
  putDeployment: (of) => of.transact((tx) => tx.putDeployment(deployment({ deploymentId: 'other' }))),
  deploymentsOfEcsDeployment: (of) => of.transact((tx) => tx.deploymentsOfEcsDeployment('1', 'ecs-svc/1')),
  deploymentsOfVersion: (of) => of.transact((tx) => tx.deploymentsOfVersion(ORDERS, { from: 0, to: 1 })),
  requestsOfVersion: (of) => of.transact((tx) => tx.requestsOfVersion(ORDERS, { from: 0, to: 1 })),
  requestsNaming: (of) => of.transact((tx) => tx.requestsNaming('orders')),
  linksOfPortalId: (of) => of.transact((tx) => tx.linksOfPortalId('p')),
  artifact: (of) => of.artifact('orders', '1.0.0'),
  newestArtifactOfImage: (of) => of.transact((tx) => tx.newestArtifactOfImage('orders')),
  isServiceKnown: (of) => of.transact((tx) => tx.isServiceKnown('orders')),
  revisionsOfDigest: (of) => of.transact((tx) => tx.revisionsOfDigest('orders', 'sha256:a')),
  layerFile: (of) => of.layerFile('sha256:a', 'p'),
  extractions: (of) => of.extractions(['sha256:a'])
}

describe('what is asked often costs the same however long the history', () => {
  it.each(Object.entries(reads))('%s', async (_, call) => {
    const plans = await plansOf(() => call(store))
    expect(plans).not.toEqual([])
    const found = plans
      .map(({ sql, steps }) => ({ sql, dear: dear(steps, IN_ORDER) }))
      .filter((plan) => plan.dear.length > 0)
    expect(found).toEqual([])
  })

  it('a scan job is found in the order in which jobs are due, without reading those that wait', async () => {
    const plans = [
      ...(await plansOf(() => store.leaseScanJob('me', 0, 1))),
      ...(await plansOf(() => store.nextScanJobDue()))
    ]
    const steps = plans.flatMap((plan) => plan.steps).filter((step) => step.includes('scan_jobs'))
    expect(steps).toHaveLength(4)
    for (const step of steps) expect(step).toMatch(/scan_jobs_due|scan_jobs_lease/)
  })

  it('a query that reads a table whole is seen', async () => {
    const connection = new DatabaseSync(join(folder, 'cdp.db'))
    const steps = (sql: string) =>
      connection
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .map(({ detail }) => String(detail))
    expect(dear(steps('SELECT * FROM tasks WHERE cast(task AS INTEGER) = 1'), IN_ORDER)).toHaveLength(1)
    expect(dear(steps('SELECT count(*) FROM deployments'), IN_ORDER)).toHaveLength(1)
    expect(dear(steps('SELECT * FROM tasks WHERE deployment = 1 ORDER BY repository'), IN_ORDER)).toHaveLength(1)
    connection.close()
  })
})
