import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digest, image, running } from '../../test/contract/records.ts'
import { taskEvents } from '../../test/ecs-events.ts'
import { createRandom } from '../../test/random.ts'
import { snapshot } from '../../test/snapshot.ts'
import { recordResolved } from '../artifacts/artifacts.ts'
import { createEnvironments } from '../domain/environment.ts'
import { type Store, StoreError } from '../store/port.ts'
import { createSqliteStore } from '../store/sqlite/sqlite.ts'
import { createInbox } from './inbox.ts'
import { deploymentRequested, placeholderRequested } from './portal-events.ts'
import type { ReadingOptions } from './read-event.ts'
import { REPLAY_SETTING, ReplayRefused, replay, SERVING_LEASE } from './replay.ts'

const NOON = Date.UTC(2026, 2, 2, 12)
const NOW = NOON + 3_600_000
const ALL = { offset: 0, limit: 10_000 }
const DEV = '333333333'
const TEST = '444444444'

const reading = (...accounts: readonly (readonly [string, string])[]): ReadingOptions => ({
  environments: createEnvironments(accounts),
  containersToIgnore: ['log_router']
})
const both = reading([DEV, 'dev'], [TEST, 'test'])

let folder: string
let path: string
let store: Store
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cdp-replay-'))
  path = join(folder, 'cdp.db')
  store = createSqliteStore(path)
})
afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

const inboxFor = (options: ReadingOptions) =>
  createInbox({ store, log: pino({ level: 'silent' }), now: () => NOW, onCommitted: () => undefined }, options)

let sent = 0
function take(options: ReadingOptions, ...events: readonly object[]) {
  const messages = events.map((event) => ({ messageId: `m-${sent++}`, sentAt: NOON, body: JSON.stringify(event) }))
  return inboxFor(options).receive('ecs', messages)
}

const again = (options: ReadingOptions = both, of: Store = store) => replay(of, { ...options, now: () => NOW })

const action = (kind: 'PUSH' | 'DELETE', tag: string, time: string, repository = 'orders') => ({
  'detail-type': 'ECR Image Action',
  time,
  detail: { result: 'SUCCESS', 'action-type': kind, 'repository-name': repository, 'image-tag': tag }
})

/** What a scan writes of an image, which no event holds. */
async function scanned(tag: string, n: number, repository = 'orders') {
  const manifest = image({ manifestDigest: digest(n), configDigest: digest(n + 100) })
  await store.transact((tx) =>
    recordResolved(
      tx,
      {
        repository,
        tag,
        resolvedAt: NOON,
        digest: digest(n),
        digests: [digest(n)],
        service: repository,
        gitUrl: null,
        isWitness: false
      },
      manifest
    )
  )
}

const task = (account: string, version: string, number: number, last: 'RUNNING' | 'STOPPED' = 'RUNNING') =>
  taskEvents(
    { account, service: 'orders', version, deployment: number, task: 1, createdAt: NOON + number * 60_000 },
    last
  )

/** Tasks in two accounts, a request, a link, a rollout, a note, pushes, a delete, a placeholder; shuffled, some twice. */
async function story() {
  await scanned('1.0.0', 1)
  await scanned('2.0.0', 2)
  const ecs = (account: string, number: number) => `ecs-svc/${account}${String(number).padStart(8, '0')}`
  const events = [
    ...task(DEV, '1.0.0', 1, 'STOPPED'),
    ...task(DEV, '2.0.0', 2),
    ...task(TEST, '1.0.0', 3),
    {
      'detail-type': 'ECS Lambda Deployment Updated',
      account: DEV,
      cdp_deployment_id: 'p-2',
      deployed_by: 'Ann',
      detail: { deploymentId: ecs(DEV, 2) }
    },
    {
      'detail-type': 'ECS Deployment State Change',
      account: DEV,
      time: '2026-03-02T12:10:00Z',
      detail: { eventName: 'SERVICE_DEPLOYMENT_COMPLETED', deploymentId: ecs(DEV, 2) }
    },
    {
      'detail-type': 'ECS Service Action',
      account: DEV,
      time: '2026-03-02T12:10:00Z',
      resources: [`arn:aws:ecs:eu-west-2:${DEV}:service/cluster/orders`],
      detail: { eventName: 'SERVICE_STEADY_STATE' }
    },
    action('PUSH', '1.0.0', '2026-03-02T11:00:00Z'),
    action('PUSH', '2.0.0', '2026-03-02T11:30:00Z'),
    action('DELETE', '1.0.0', '2026-03-02T11:45:00Z')
  ]
  const { shuffled } = createRandom(5)
  await take(both, ...shuffled([...events, ...events.slice(0, 5)]))
  const request = {
    environment: 'test',
    requestedService: 'orders',
    version: '1.0.0',
    user: 'Bob',
    userId: 'u',
    instanceCount: 1
  }
  const inbox = inboxFor(both)
  for (const [deploymentId, requestedAt] of [
    ['p-3', NOON + 60_000],
    ['p-4', NOON + 90_000]
  ] as const) {
    await inbox.submit(deploymentRequested({ ...request, deploymentId, requestedAt }), (tx) => tx.request(deploymentId))
  }
  await inbox.submit(placeholderRequested('new-service', null, NOON), (tx) => tx.artifact('new-service', '0.0.0'))
  // All that the pushes asked for has been done.
  for (const job of (await store.scanJobs('queued', ALL)).rows) {
    await store.transact((tx) => tx.putScanJob({ ...job, state: 'done', endedAt: NOW }))
  }
}

/** Everything that replaying may touch, and everything that it must not. */
async function stateOf(of: Store) {
  const state = await snapshot(of, [NOON, NOON + 61_000, NOON + 200_000])
  const keys = state.deployments.rows.flatMap((row) => (row.kind === 'task' ? [row.deployment] : []))
  return {
    ...state,
    rollouts: await Promise.all(
      keys.map(({ account, ecsDeploymentId }) => of.rolloutOf(account, ecsDeploymentId ?? ''))
    ),
    actions: await Promise.all(keys.map((deployment) => of.serviceActionsOf(deployment, 10))),
    links: await of.linksOf('p-2'),
    request: await of.requestNamed('p-4'),
    deleted: await of.artifact('orders', '1.0.0'),
    jobs: await of.scanJobs(undefined, ALL),
    events: await of.events({}, ALL)
  }
}

describe('replaying the log', () => {
  it('ends in the state that the events had made', async () => {
    await story()
    const before = await stateOf(store)
    // A story that says nothing would prove nothing.
    expect(before.running).toHaveLength(2)
    expect(before.deployments.rows.map(({ kind }) => kind).sort()).toEqual(['request', 'task', 'task', 'task'])
    expect(before.rollouts.filter((rollout) => rollout !== null)).toHaveLength(1)
    expect(before.actions.flat()).toHaveLength(1)
    expect(before.deleted?.deletedAt).not.toBeNull()
    expect(before.links).toHaveLength(1)
    expect(await again()).toEqual({ events: before.events.total, changed: 0 })
    expect(await stateOf(store)).toEqual(before)
    expect(await store.setting(REPLAY_SETTING)).toBeNull()
  })

  it('mends a state that is wrong', async () => {
    await story()
    const before = await stateOf(store)
    await store.transact(function* (tx) {
      yield* tx.putRunning(running({ service: 'of-nothing' }))
      yield* tx.removeRunning('dev', 'orders')
      for (const row of before.deployments.rows)
        if (row.kind === 'task') yield* tx.putTask({ ...row.task, status: 'PENDING', stoppedAt: 0 })
    })
    expect(await stateOf(store)).not.toEqual(before)
    await again()
    expect(await stateOf(store)).toEqual(before)
  })

  it('reads thousands of events, in parts, and tells how far it is', async () => {
    await scanned('1.0.0', 1)
    for (let number = 1; number <= 150; number++) await take(both, ...task(DEV, '1.0.0', number, 'STOPPED'))
    const before = await stateOf(store)
    const told: number[] = []
    expect(await replay(store, { ...both, now: () => NOW, onProgress: (sequence) => told.push(sequence) })).toEqual({
      events: 1_200,
      changed: 0
    })
    expect(told).toEqual([500, 1_000, 1_200])
    expect(await stateOf(store)).toEqual(before)
  })

  it('of an empty log is nothing', async () => {
    expect(await again()).toEqual({ events: 0, changed: 0 })
  })
})

describe('under other settings', () => {
  it('an account that the settings know by now brings its events in', async () => {
    await scanned('1.0.0', 1)
    const onlyDev = reading([DEV, 'dev'])
    await take(onlyDev, ...task(DEV, '1.0.0', 1), ...task(TEST, '1.0.0', 2))
    expect((await store.events({ outcome: 'rejected' }, ALL)).total).toBe(4)
    expect((await store.running()).map(({ environment }) => environment)).toEqual(['dev'])
    expect(await again(both)).toEqual({ events: 8, changed: 4 })
    expect((await store.running()).map(({ environment }) => environment)).toEqual(['dev', 'test'])
    expect(await store.events({ outcome: 'rejected' }, ALL)).toEqual({ rows: [], total: 0 })
    expect((await store.events({ outcome: 'done' }, ALL)).rows.every(({ reason }) => reason === null)).toBe(true)
  })

  it('an account that the settings know no more takes its events out, and they say why', async () => {
    await scanned('1.0.0', 1)
    await take(both, ...task(DEV, '1.0.0', 1), ...task(TEST, '1.0.0', 2))
    expect(await again(reading([DEV, 'dev']))).toEqual({ events: 8, changed: 4 })
    expect((await store.running()).map(({ environment }) => environment)).toEqual(['dev'])
    expect((await store.events({ outcome: 'rejected' }, ALL)).rows[0]?.reason).toMatch(/^unknown account 444444444/)
  })
})

describe('what a replay leaves alone', () => {
  it('is every artifact', async () => {
    await story()
    // One that no event of the log tells of, as a backfill finds it.
    await scanned('9.0.0', 9, 'found-elsewhere')
    const before = await store.artifacts()
    await again()
    expect(await store.artifacts()).toEqual(before)
    expect(before.map(({ repository }) => repository)).toContain('found-elsewhere')
  })

  it('is a known image: it is not scanned again, and an unknown one is', async () => {
    await scanned('1.0.0', 1)
    await take(both, action('PUSH', '1.0.0', '2026-03-02T11:00:00Z'), action('PUSH', '3.0.0', '2026-03-02T11:00:00Z'))
    await inboxFor(both).submit(placeholderRequested('new-service', null, NOON), (tx) =>
      tx.artifact('new-service', '0.0.0')
    )
    await take(both, action('PUSH', '0.0.0', '2026-03-02T11:00:00Z', 'new-service'))
    for (const job of (await store.scanJobs('queued', ALL)).rows) {
      await store.transact((tx) => tx.putScanJob({ ...job, state: 'failed', endedAt: NOW }))
    }
    await again()
    const { rows } = await store.scanJobs('queued', ALL)
    // A placeholder is no image that was scanned.
    expect(rows.map(({ repository, tag }) => `${repository}:${tag}`).sort()).toEqual([
      'new-service:0.0.0',
      'orders:3.0.0'
    ])
  })
})

describe('a replay is refused', () => {
  const refusal = async (of: Store = store) => {
    const error = await again(both, of).then(
      () => null,
      (reason: unknown) => reason
    )
    if (!(error instanceof ReplayRefused)) throw error ?? new Error('it was not refused')
    return error.message
  }

  it('while an instance serves the store, which stays as it is', async () => {
    await story()
    const before = await stateOf(store)
    await store.takeLease(`${SERVING_LEASE}host/1`, 'host/1', NOW - 10, 11)
    expect(await refusal()).toBe(`SQLite in ${path} is being served (host/1): stop that first`)
    expect(await stateOf(store)).toEqual(before)
    // The instance may start anew, and so may the replay once the lease has run out.
    expect(await store.setting(REPLAY_SETTING)).toBeNull()
    await store.takeLease(`${SERVING_LEASE}host/1`, 'host/1', NOW - 10, 10)
    expect(await again()).toMatchObject({ changed: 0 })
  })

  it('where the log was trimmed', async () => {
    await story()
    const connection = new DatabaseSync(path)
    connection.exec('DELETE FROM events WHERE sequence = 1')
    connection.close()
    const before = await stateOf(store)
    expect(await refusal()).toBe('the event log has been trimmed: what it no longer holds cannot be rebuilt')
    expect(await stateOf(store)).toEqual(before)
    expect(await store.setting(REPLAY_SETTING)).toBeNull()
  })

  it('and one that was broken off before stays broken off', async () => {
    await store.putSetting(REPLAY_SETTING, 'begun')
    await store.takeLease(`${SERVING_LEASE}host/1`, 'host/1', NOW, 100)
    await refusal()
    expect(await store.setting(REPLAY_SETTING)).toBe('begun')
  })

  it('where an instance begins to serve while it looks: it has said before that it is under way', async () => {
    const seen: (string | null)[] = []
    const looking: Store = {
      ...store,
      async leases(prefix, now) {
        seen.push(await store.setting(REPLAY_SETTING))
        return store.leases(prefix, now)
      }
    }
    await again(both, looking)
    expect(seen).toEqual(['begun'])
  })
})

it('a replay that was broken off says so, and can be begun again', async () => {
  await story()
  for (let number = 10; number <= 90; number++) await take(both, ...task(DEV, '1.0.0', number, 'STOPPED'))
  const before = await stateOf(store)
  for (let fails = 1; fails <= 3; fails++) {
    let transactions = 0
    const failing: Store = {
      ...store,
      transact(work) {
        transactions += 1
        return transactions === fails ? Promise.reject(new StoreError('unavailable', 'gone')) : store.transact(work)
      }
    }
    await expect(again(both, failing)).rejects.toMatchObject({ code: 'unavailable' })
    expect(await store.setting(REPLAY_SETTING)).toBe('begun')
  }
  expect(await stateOf(store)).not.toEqual(before)
  await again()
  expect(await stateOf(store)).toEqual(before)
  expect(await store.setting(REPLAY_SETTING)).toBeNull()
})
