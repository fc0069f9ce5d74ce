import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createSqliteStore } from '../../src/store/sqlite/sqlite.ts'
import { taskEvents } from '../ecs-events.ts'
import { type FakeRegistry, startRegistry } from '../fakes/registry.ts'
import { type FakeSqs, startSqs } from '../fakes/sqs.ts'
import { createRandom, type Random, seedOfRun } from '../random.ts'
import { snapshot } from '../snapshot.ts'
import { sampleEnvironments } from './environments.ts'
import { pushService } from './images.ts'

const BIN = fileURLToPath(new URL('../../bin/cdp.mjs', import.meta.url))
const SERVICES = ['orders', 'payments', 'search', 'mail']
const VERSIONS = ['1.0.0', '1.1.0', '2.0.0']
const EVENTS = 2_000
const KILLS = 8
const START = Date.UTC(2026, 2, 2)
const HOUR = 3_600_000

/** Rollouts of services over the environments, until there are so many events. */
function story(random: Random): object[] {
  const events: object[] = []
  for (let deployment = 1; events.length < EVENTS; deployment++) {
    const [account] = random.pick(sampleEnvironments)
    const createdAt = START + deployment * HOUR
    const service = random.pick(SERVICES)
    for (let task = 1; task <= random.integer(1, 3); task++) {
      const last = random.pick(['RUNNING', 'STOPPED', 'STOPPED', 'STOPPED'] as const)
      events.push(
        ...taskEvents({ account, service, version: random.pick(VERSIONS), deployment, task, createdAt }, last)
      )
    }
  }
  return events.slice(0, EVENTS)
}

interface Run {
  readonly sqs: FakeSqs
  readonly queues: { ecs: string; ecr: string }
  readonly folder: string
  /** Starts the service; it is ended with the run. */
  start(): ChildProcess
  close(): Promise<void>
}

async function prepare(registry: FakeRegistry): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'cdp-kill-'))
  const sqs = await startSqs()
  const queues = { ecs: await sqs.createQueue('ecs-deployments'), ecr: await sqs.createQueue('ecr-push-events') }
  const environment = {
    PATH: process.env.PATH,
    PORT: '0',
    STORE_URL: `sqlite:${folder}/cdp.db`,
    ECS_EVENTS_QUEUE_URL: queues.ecs,
    ECR_EVENTS_QUEUE_URL: queues.ecr,
    AWS_ENDPOINT_URL_SQS: sqs.endpoint,
    REGISTRY_URL: registry.url,
    SQS_WAIT_SECONDS: '1',
    SQS_VISIBILITY_SECONDS: '2',
    LOG_LEVEL: 'fatal'
  }
  let child: ChildProcess | null = null
  return {
    sqs,
    queues,
    folder,
    start() {
      child = spawn(process.execPath, [BIN, 'serve'], { env: environment, cwd: folder, stdio: 'inherit' })
      return child
    },
    async close() {
      child?.kill('SIGKILL')
      await sqs.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

async function isEmpty({ sqs, queues }: Run): Promise<boolean> {
  const depths = await Promise.all([sqs.depth(queues.ecs), sqs.depth(queues.ecr)])
  return depths.every(({ waiting, inFlight }) => waiting + inFlight === 0)
}

function mustRun(child: ChildProcess): void {
  if (child.exitCode !== null) throw new Error(`the service ended by itself, with ${child.exitCode}`)
}

/** Waits until some message has been received or deleted. */
async function working({ sqs, queues }: Run, child: ChildProcess): Promise<void> {
  const before = await sqs.depth(queues.ecs)
  while ((await sqs.depth(queues.ecs)).waiting === before.waiting && before.waiting > 0) {
    mustRun(child)
    await pause(20)
  }
}

/** Waits until the queues are empty and every scan has ended, then for an orderly end. */
async function finish(run: Run, child: ChildProcess): Promise<void> {
  for (;;) {
    mustRun(child)
    if (await isEmpty(run)) {
      const store = createSqliteStore(join(run.folder, 'cdp.db'))
      const { queued, running } = await store.countScanJobs()
      await store.close()
      if (queued + running === 0) break
    }
    await pause(100)
  }
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
}

async function send(run: Run, events: readonly object[]): Promise<void> {
  const pushes = SERVICES.flatMap((service) =>
    VERSIONS.map((version) => ({
      id: `${service}-${version}`,
      time: '2026-03-01T00:00:00Z',
      detail: { result: 'SUCCESS', 'action-type': 'PUSH', 'repository-name': service, 'image-tag': version }
    }))
  )
  await run.sqs.send(
    run.queues.ecs,
    events.map((event) => JSON.stringify(event))
  )
  await run.sqs.send(
    run.queues.ecr,
    pushes.map((event) => JSON.stringify(event))
  )
}

/** The store's state, and every event that it kept. */
async function stateOf(run: Run) {
  const store = createSqliteStore(join(run.folder, 'cdp.db'))
  const times = [START + 10 * HOUR, START + 50 * HOUR, START + 200 * HOUR]
  const events = (await store.eventsAfter(0, 10 * EVENTS)).map(({ eventId, outcome, reason }) => ({
    eventId,
    outcome,
    reason
  }))
  const state = {
    ...(await snapshot(store, times)),
    events: events.sort((a, b) => ((a.eventId ?? '') < (b.eventId ?? '') ? -1 : 1))
  }
  await store.close()
  return JSON.parse(
    JSON.stringify(state, (name, value) => (name === 'sentAt' || name === 'slotOrder' ? undefined : value))
  ) as typeof state
}

describe('kill -9', () => {
  it('at random points under a stream of events leaves a store equal to the one that was never killed', async () => {
    const random = createRandom(seedOfRun('kill -9'))
    const events = story(random)
    const registry = await startRegistry()
    for (const service of SERVICES) for (const version of VERSIONS) await pushService(registry.url, service, version)
    const [calm, killed] = [await prepare(registry), await prepare(registry)]
    try {
      await send(calm, events)
      await finish(calm, calm.start())

      await send(killed, random.shuffled(events))
      let kills = 0
      for (; kills < KILLS && !(await isEmpty(killed)); kills++) {
        const child = killed.start()
        // Now and then before it has begun, else at some moment of its work.
        if (random.next() > 0.1) await working(killed, child)
        await pause(random.integer(0, 600))
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
      process.stderr.write(`kill -9: ${kills} kills\n`)
      expect(kills).toBeGreaterThan(3)
      expect(await isEmpty(killed)).toBe(false)
      await finish(killed, killed.start())
      const [expected, actual] = [await stateOf(calm), await stateOf(killed)]
      expect(expected.events).toHaveLength(EVENTS + SERVICES.length * VERSIONS.length)
      expect(expected.artifacts).toHaveLength(SERVICES.length * VERSIONS.length)
      expect(actual).toEqual(expected)
    } finally {
      await calm.close()
      await killed.close()
      await registry.close()
    }
  }, 120_000)
})
