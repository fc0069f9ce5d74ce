import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { compose } from '../../src/compose.ts'
import { loadConfig } from '../../src/config/config.ts'
import { type FakeRegistry, startRegistry } from '../fakes/registry.ts'
import { type FakeSqs, startSqs } from '../fakes/sqs.ts'

/** The whole service, with a registry and queues of its own, as its users meet it: by SQS, the registry and HTTP. */
export interface Harness {
  readonly api: string
  readonly registry: FakeRegistry
  readonly sqs: FakeSqs
  readonly queues: { readonly ecs: string; readonly ecr: string }
  /** Sends events: an object becomes JSON, a text stays as it is. */
  send(queue: 'ecs' | 'ecr', ...events: readonly (object | string)[]): Promise<void>
  get(path: string): Promise<{ status: number; body: unknown }>
  post(path: string, body?: object): Promise<{ status: number; body: unknown }>
  /** Asks again and again until the check no longer throws; fails with its last error after ten seconds. */
  eventually<T>(check: () => Promise<T>): Promise<T>
  /** Waits until both queues are empty and no scan job waits or runs. */
  settled(): Promise<void>
  close(): Promise<void>
}

const PATIENCE_MS = 10_000
const POLL_MS = 25

/** Starts everything; `environment` adds to the settings. */
export async function startHarness(environment: NodeJS.ProcessEnv = {}): Promise<Harness> {
  const folder = mkdtempSync(join(tmpdir(), 'cdp-'))
  const sqs = await startSqs()
  const registry = await startRegistry()
  const queues = { ecs: await sqs.createQueue('ecs-deployments'), ecr: await sqs.createQueue('ecr-push-events') }
  const settings: NodeJS.ProcessEnv = {
    PORT: '0',
    STORE_URL: `sqlite:${folder}/cdp.db`,
    ECS_EVENTS_QUEUE_URL: queues.ecs,
    ECR_EVENTS_QUEUE_URL: queues.ecr,
    AWS_ENDPOINT_URL_SQS: sqs.endpoint,
    REGISTRY_URL: registry.url,
    SQS_WAIT_SECONDS: '1',
    ...environment
  }
  const config = loadConfig(settings)
  const service = await compose({ config, log: pino({ level: 'silent' }), environment: settings })
  const api = await service.start()

  async function call(path: string, init?: RequestInit) {
    const response = await fetch(`${api}${path}`, init)
    return { status: response.status, body: (await response.json()) as unknown }
  }

  const harness: Harness = {
    api,
    registry,
    sqs,
    queues,
    send: (queue, ...events) =>
      sqs.send(
        queues[queue],
        events.map((event) => (typeof event === 'string' ? event : JSON.stringify(event)))
      ),
    get: (path) => call(path),
    post: (path, body) =>
      call(path, {
        method: 'POST',
        ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
      }),
    async eventually(check) {
      const deadline = Date.now() + PATIENCE_MS
      for (;;) {
        try {
          return await check()
        } catch (error) {
          if (Date.now() > deadline) throw error
          await new Promise((resolve) => setTimeout(resolve, POLL_MS))
        }
      }
    },
    settled: () =>
      harness.eventually(async () => {
        const depths = await Promise.all([sqs.depth(queues.ecs), sqs.depth(queues.ecr)])
        const metrics = await (await fetch(`${api}/metrics`)).text()
        const jobs = [...metrics.matchAll(/^cdp_scan_jobs\{state="(?:queued|running)"\} (\d+)/gm)].map((match) =>
          Number(match[1])
        )
        const left = [...depths.flatMap(({ waiting, inFlight }) => [waiting, inFlight]), ...jobs]
        if (left.some((count) => count > 0)) throw new Error(`still to do: ${left.join(', ')}`)
      }),
    async close() {
      await service.stop()
      await registry.close()
      await sqs.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }
  return harness
}
