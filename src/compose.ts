/** The one place that knows all parts: it makes each of them and gives it what it needs. */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { SQSClient } from '@aws-sdk/client-sqs'
import { ecsFormat } from '@elastic/ecs-pino-format'
import { type Logger, type LoggerOptions, pino } from 'pino'
import { Counter, Gauge, Registry as MetricsRegistry } from 'prom-client'
import { createAccess } from './access/access.ts'
import { createArtifactQueries, PLACEHOLDER_TAG } from './artifacts/artifacts.ts'
import type { Config } from './config/config.ts'
import { createDeploymentQueries } from './deployments/deployments.ts'
import {
  createInbox,
  createQueueListener,
  deploymentRequested,
  placeholderRequested,
  type QueueListener,
  REPLAY_SETTING,
  type ReadingOptions,
  SERVING_LEASE
} from './events/events.ts'
import { createHttp, type ReadinessCheck } from './http/http.ts'
import { createRegistry, type Registry } from './registry/registry.ts'
import { createImageReader, createScanner } from './scan/scan.ts'
import type { Store } from './store/port.ts'
import { createSqliteStore } from './store/sqlite/sqlite.ts'

/** The service, ready to run. */
export interface Service {
  /** Starts everything, the API last. @returns the address that it listens on: `http://127.0.0.1:5094`. */
  start(): Promise<string>
  /** Turns not ready, stops polling, finishes or gives back what is in hand, and closes everything. */
  stop(): Promise<void>
}

/** The service cannot start, for a reason that its operator can mend. */
export class StartRefused extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'StartRefused'
  }
}

/** How long an instance is believed to live without renewing its lease. */
const SERVING_LEASE_MS = 15_000

/** The logger, in the Elastic Common Schema. */
export function createLog(config: Config, destination?: pino.DestinationStream): Logger {
  const options: LoggerOptions = { ...(ecsFormat() as LoggerOptions), level: config.logLevel }
  return destination === undefined ? pino(options) : pino(options, destination)
}

/** The store that the settings name. @throws StoreError */
export function openStore(config: Config): Store {
  switch (config.store.kind) {
    case 'sqlite':
      return createSqliteStore(config.store.path)
  }
}

/** The registry that the settings name. */
export function openRegistry(config: Config): Registry {
  const { url, credentials, timeoutSeconds } = config.registry
  return createRegistry({
    url,
    ...(credentials === null
      ? {}
      : { credentials: { username: credentials.username, password: credentials.password.reveal() } }),
    limits: { idleMs: timeoutSeconds * 1000, connectMs: timeoutSeconds * 1000 }
  })
}

/** What reading an event takes from the settings. */
export function readingOptions({ environments, containersToIgnore }: Config): ReadingOptions {
  return { environments, containersToIgnore }
}

const EMULATOR_CREDENTIALS = { accessKeyId: 'local', secretAccessKey: 'local' }

/** A client for SQS as the AWS SDK's own environment variables say. */
export function createSqsClient(config: Config, environment: NodeJS.ProcessEnv): SQSClient {
  const endpoint = environment.AWS_ENDPOINT_URL_SQS || environment.AWS_ENDPOINT_URL
  const isLocal = endpoint !== undefined && ['localhost', '127.0.0.1', '[::1]'].includes(URL.parse(endpoint)?.hostname ?? '')
  const hasCredentials = environment.AWS_ACCESS_KEY_ID !== undefined || environment.AWS_PROFILE !== undefined
  return new SQSClient({
    region: config.aws.region,
    // An emulator's queue URLs name hosts that only it knows; the endpoint that was set is where it listens.
    ...(endpoint === undefined ? {} : { endpoint, useQueueUrlAsEndpoint: false }),
    // An emulator on this machine checks no credentials, and looking for some would ask the network.
    ...(isLocal && !hasCredentials ? { credentials: EMULATOR_CREDENTIALS } : {})
  })
}

export interface ComposeOptions {
  readonly config: Config
  readonly log: Logger
  /** What the AWS SDK reads. */
  readonly environment: NodeJS.ProcessEnv
  readonly now?: () => number
}

/**
 * Makes the service of its parts.
 * @throws StoreError where the store cannot be opened; StartRefused where it must not be served now.
 */
export async function compose({ config, log, environment, now = Date.now }: ComposeOptions): Promise<Service> {
  const store = openStore(config)
  if ((await store.setting(REPLAY_SETTING)) !== null) {
    await store.close()
    throw new StartRefused('a replay of the event log was broken off: run `cdp replay` to its end first')
  }
  const instance = `${hostname()}/${process.pid}/${randomUUID().slice(0, 8)}`
  const metrics = new MetricsRegistry()
  const registry = openRegistry(config)
  const { environments, hiddenEnvironments, queues } = config

  const events = new Counter({
    name: 'cdp_events_total',
    help: 'Events taken in, by kind and outcome',
    labelNames: ['kind', 'outcome'],
    registers: [metrics]
  })
  const attempts = new Counter({
    name: 'cdp_scan_attempts_total',
    help: 'Attempts to scan an image that ended, by result',
    labelNames: ['result'],
    registers: [metrics]
  })
  new Gauge({
    name: 'cdp_scan_jobs',
    help: 'Scan jobs in the store, by state',
    labelNames: ['state'],
    registers: [metrics],
    async collect() {
      for (const [state, count] of Object.entries(await store.countScanJobs())) this.set({ state }, count)
    }
  })

  const scanner = createScanner(
    {
      store,
      registry,
      reader: createImageReader(store, config.scan.layerLimits),
      log: log.child({ part: 'scan' }),
      now,
      instance,
      onAttempt: (result) => attempts.inc({ result })
    },
    config.scan
  )
  const inbox = createInbox(
    {
      store,
      log: log.child({ part: 'events' }),
      now,
      onCommitted(read) {
        for (const { event, reading } of read) events.inc({ kind: event?.detailType ?? 'none', outcome: reading.outcome })
        scanner.wake()
      }
    },
    readingOptions(config)
  )

  const sqs = createSqsClient(config, environment)
  const listeners = new Map<'ecs' | 'ecr', QueueListener>()
  for (const channel of ['ecs', 'ecr'] as const) {
    const queueUrl = queues[channel]
    if (queueUrl === null) continue
    const { waitSeconds, visibilitySeconds } = queues
    const deps = { sqs, inbox, log: log.child({ part: 'events' }), now }
    listeners.set(channel, createQueueListener(deps, { channel, queueUrl, waitSeconds, visibilitySeconds }))
  }

  let stopping = false
  async function readiness(): Promise<readonly ReadinessCheck[]> {
    const answers = await store.ping().then(
      () => ({ name: 'store', ok: true }),
      (error: unknown) => ({ name: 'store', ok: false, reason: error instanceof Error ? error.message : 'it does not answer' })
    )
    const draining = stopping ? { name: 'serving', ok: false, reason: 'the service is stopping' } : { name: 'serving', ok: true }
    return [answers, draining]
  }

  const http = createHttp({
    store,
    environments,
    access: createAccess({
      host: config.listen.host,
      adminToken: config.access.adminToken?.reveal() ?? null,
      writeToken: config.access.writeToken?.reveal() ?? null
    }),
    deployments: createDeploymentQueries({ store, environments }),
    artifacts: createArtifactQueries({ store, environments, hiddenEnvironments, teams: async () => () => [] }),
    log: log.child({ part: 'http' }),
    metrics,
    events: {
      submitRequest: (request) =>
        inbox.submit(deploymentRequested(request), function* (tx) {
          const kept = yield* tx.request(request.deploymentId)
          if (kept === null) throw new Error('a request was kept and is not there')
          return kept
        }),
      submitPlaceholder: ({ service, gitUrl }) =>
        inbox.submit(placeholderRequested(service, gitUrl, now()), function* (tx) {
          const kept = yield* tx.artifact(service, PLACEHOLDER_TAG)
          if (kept === null) throw new Error('a placeholder was kept and is not there')
          return kept
        })
    },
    scan: { scanNow: (repository, tag, signal) => scanner.scanNow(repository, tag, signal) },
    readiness,
    now
  })

  const lease = `${SERVING_LEASE}${instance}`
  let renewal: NodeJS.Timeout | null = null
  const renew = () => store.takeLease(lease, instance, now(), SERVING_LEASE_MS)

  return {
    async start() {
      await renew()
      renewal = setInterval(() => {
        renew().catch((error: unknown) => log.warn({ err: error }, 'the lease of this instance could not be renewed'))
      }, SERVING_LEASE_MS / 3)
      log.info({ store: store.description, registry: config.registry.url }, 'starting')
      for (const [channel, variable] of [['ecs', 'ECS_EVENTS_QUEUE_URL'], ['ecr', 'ECR_EVENTS_QUEUE_URL']] as const) {
        if (!listeners.has(channel)) log.warn({ variable }, `no ${channel.toUpperCase()} events are read: set ${variable} to turn that on`)
      }
      scanner.start()
      for (const listener of listeners.values()) listener.start()
      const address = await http.listen({ host: config.listen.host, port: config.listen.port })
      log.info({ address }, 'listening')
      return address
    },
    async stop() {
      stopping = true
      if (renewal !== null) clearInterval(renewal)
      await Promise.all([...listeners.values()].map((listener) => listener.stop()))
      await scanner.stop()
      await http.close()
      sqs.destroy()
      await registry.close()
      await store.releaseLease(lease, instance)
      await store.close()
    }
  }
}
