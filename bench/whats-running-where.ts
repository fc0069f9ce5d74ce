/**
 * Does reading what runs cost more when there is more history? Two stores with the same 300 services × 7 environments live,
 * one with 3,000 events behind it, one with 100,000: the same requests to both, in turn, over HTTP.
 *
 *     npm run bench -- whats-running-where
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { recordPlaceholder } from '../src/artifacts/artifacts.ts'
import { compose } from '../src/compose.ts'
import { loadConfig } from '../src/config/config.ts'
import { createInbox } from '../src/events/events.ts'
import { createSqliteStore } from '../src/store/sqlite/sqlite.ts'
import { sampleEnvironments } from '../test/e2e/environments.ts'
import { taskEvents } from '../test/ecs-events.ts'
import { interleaved, report } from './measure.ts'

const SERVICES = 300
const ROUNDS = 300
const START = Date.UTC(2026, 0, 1)
const HOUR = 3_600_000
const BATCH = 200

/** The task of every service in every environment that lives at the end: one event each, 2,100 in all. */
function* living() {
  for (let service = 0; service < SERVICES; service++) {
    for (const [account] of sampleEnvironments) {
      const task = { account, service: `service-${service}`, version: '0.0.0', deployment: 99_999, task: 1 }
      yield taskEvents({ ...task, createdAt: START + 9_000 * HOUR }, 'RUNNING').at(-1) as object
    }
  }
}

/** Tasks that have come and gone: eight events each. */
function* past(events: number) {
  for (let deployment = 1, count = 0; count < events; deployment++) {
    const [account] = sampleEnvironments[deployment % sampleEnvironments.length] ?? ['']
    const service = `service-${deployment % SERVICES}`
    const task = {
      account,
      service,
      version: '0.0.0',
      deployment,
      task: 1,
      createdAt: START + (deployment % 8_000) * HOUR
    }
    for (const event of taskEvents(task, 'STOPPED').slice(0, events - count)) {
      count += 1
      yield event
    }
  }
}

async function fill(path: string, events: number): Promise<void> {
  const store = createSqliteStore(path)
  const log = pino({ level: 'silent' })
  const inbox = createInbox({ store, log, now: Date.now, onCommitted: () => {} }, loadConfig({}))
  await store.transact(function* (tx) {
    for (let service = 0; service < SERVICES; service++) {
      yield* recordPlaceholder(tx, { service: `service-${service}`, gitUrl: null, at: START })
    }
  })
  let batch: { messageId: string; body: string; sentAt: number }[] = []
  const flush = async () => {
    await inbox.receive('ecs', batch)
    batch = []
  }
  for (const stream of [past(events - SERVICES * sampleEnvironments.length), living()]) {
    for (const event of stream) {
      batch.push({ messageId: crypto.randomUUID(), body: JSON.stringify(event), sentAt: START })
      if (batch.length === BATCH) await flush()
    }
  }
  await flush()
  const { total } = await store.events({}, { offset: 0, limit: 1 })
  if (total !== events) throw new Error(`${total} events are in the log, not ${events}`)
  await store.close()
}

async function serve(path: string) {
  const settings = { PORT: '0', STORE_URL: `sqlite:${path}`, HOST: '127.0.0.1' }
  const service = await compose({ config: loadConfig(settings), log: pino({ level: 'silent' }), environment: settings })
  return { service, api: await service.start() }
}

async function get(url: string, rows: number): Promise<void> {
  const response = await fetch(url)
  const body = (await response.json()) as unknown[]
  if (body.length !== rows) throw new Error(`${url} answered ${body.length} rows`)
}

const folder = mkdtempSync(join(tmpdir(), 'cdp-bench-'))
try {
  const sizes = [3_000, 100_000]
  const served: ({ readonly events: number } & Awaited<ReturnType<typeof serve>>)[] = []
  for (const events of sizes) {
    const path = join(folder, `${events}.db`)
    await fill(path, events)
    served.push({ events, ...(await serve(path)) })
  }
  const rows = SERVICES * sampleEnvironments.length
  const works = Object.fromEntries(
    served.flatMap(({ events, api }) => [
      [`all, ${events} events`, () => get(`${api}/whats-running-where`, rows)],
      [`one service, ${events} events`, () => get(`${api}/whats-running-where/service-7`, sampleEnvironments.length)]
    ])
  )
  await interleaved(20, works)
  for (const [name, times] of await interleaved(ROUNDS, works)) process.stdout.write(`${report(name, times)}\n`)
  for (const { service } of served) await service.stop()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
