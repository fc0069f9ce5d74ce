/** The one place that knows all parts: it makes each of them and gives it what it needs. */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs'
import { ecsFormat } from '@elastic/ecs-pino-format'
import { type Logger, type LoggerOptions, pino } from 'pino'
import { Counter, Gauge, Registry as MetricsRegistry } from 'prom-client'
import { createAccess, isLoopbackHost } from './access/access.ts'
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
  ReplayRefused,
  replay,
  SERVING_LEASE
} from './events/events.ts'
import { createHttp, type ReadinessCheck } from './http/http.ts'
import { createRegistry, openImageLayout, type Platform, type Registry, RegistryError } from './registry/registry.ts'
import { createImageReader, createScanner, type ImageInspection, inspectImage } from './scan/scan.ts'
import type { Store } from './store/port.ts'
import { createSqliteStore } from './store/sqlite/sqlite.ts'

export type { ImageInspection, Platform }
export { RegistryError, ReplayRefused }

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

/**
 * The registry that the settings name; or the one at another host, which gets none of the settings' credentials and is
 * spoken to over https, on this machine over http.
 * @throws RegistryError `invalid` where that is no host.
 */
export function openRegistry(config: Config, host: string | null = null): Registry {
  const { url, credentials, timeoutSeconds } = config.registry
  const limits = { idleMs: timeoutSeconds * 1000, connectMs: timeoutSeconds * 1000 }
  if (host !== null && URL.parse(url)?.host !== host.toLowerCase()) {
    const scheme = isLoopbackHost(host.replace(/:\d+$/, '')) ? 'http' : 'https'
    return createRegistry({ url: `${scheme}://${host}`, limits })
  }
  return createRegistry({
    url,
    ...(credentials === null
      ? {}
      : { credentials: { username: credentials.username, password: credentials.password.reveal() } }),
    limits
  })
}

/** Where an image lies. */
export type ImagePlace =
  /** Without a host, in the registry of the settings. */
  | { readonly kind: 'registry'; readonly host: string | null; readonly repository: string; readonly reference: string }
  /** In an OCI layout or an archive on disk; without a reference, the only image there is. */
  | { readonly kind: 'layout'; readonly path: string; readonly reference: string | null }

/**
 * Reads one image as the service would, without a store.
 * @param onProgress told of the compressed bytes read so far, and of those that there are.
 * @throws RegistryError where the image is missing, cannot be reached, or is no container image.
 */
export async function inspect(
  config: Config,
  place: ImagePlace,
  { platform, onProgress }: { platform: Platform | null; onProgress?: (read: number, total: number) => void }
): Promise<ImageInspection> {
  const { labels, layerLimits: limits } = config.scan
  const options = { platform: platform ?? config.scan.platform, labels, limits, ...(onProgress && { onProgress }) }
  if (place.kind === 'registry') {
    const registry = openRegistry(config, place.host)
    try {
      return await inspectImage(registry.image(place.repository), place.reference, options)
    } finally {
      await registry.close()
    }
  }
  const layout = await openImageLayout(place.path)
  const [only, ...others] = layout.references().map(({ reference }) => reference)
  const reference = place.reference ?? only
  if (reference === undefined) throw new RegistryError('not-found', `${place.path} holds no image`)
  if (place.reference === null && others.length > 0) {
    throw new RegistryError(
      'invalid',
      `${place.path} holds several images, name one after a colon: ${[only, ...others].join(', ')}`
    )
  }
  return inspectImage(layout, reference, options)
}

/** What reading an event takes from the settings. */
function readingOptions({ environments, containersToIgnore }: Config): ReadingOptions {
  return { environments, containersToIgnore }
}

/**
 * Rebuilds deployment state from the event log of the store that the settings name.
 * @throws StoreError; ReplayRefused where the store is being served, or its log has been trimmed.
 */
export async function replayEvents(
  config: Config,
  onProgress: (sequence: number) => void
): Promise<{ readonly store: string; readonly events: number; readonly changed: number }> {
  const store = openStore(config)
  try {
    const result = await replay(store, { ...readingOptions(config), now: Date.now, onProgress })
    return { store: store.description, ...result }
  } finally {
    await store.close()
  }
}

const EMULATOR_CREDENTIALS = { accessKeyId: 'local', secretAccessKey: 'local' }

/** A client for SQS as the AWS SDK's own environment variables say. */
export function createSqsClient(config: Config, environment: NodeJS.ProcessEnv): SQSClient {
  const endpoint = environment.AWS_ENDPOINT_URL_SQS || environment.AWS_ENDPOINT_URL
  const isLocal =
    endpoint !== undefined && ['localhost', '127.0.0.1', '[::1]'].includes(URL.parse(endpoint)?.hostname ?? '')
  const hasCredentials = environment.AWS_ACCESS_KEY_ID !== undefined || environment.AWS_PROFILE !== undefined
  return new SQSClient({
    region: config.aws.region,
    // An emulator's queue URLs name hosts that only it knows; the endpoint that was set is where it listens.
    ...(endpoint === undefined ? {} : { endpoint, useQueueUrlAsEndpoint: false }),
    // An emulator on this machine checks no credentials, and looking for some would ask the network.
    ...(isLocal && !hasCredentials ? { credentials: EMULATOR_CREDENTIALS } : {})
  })
}

/** SQS takes ten messages at once, https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html */
const SEND_BATCH = 10
/** For one batch, with the SDK's own attempts. */
const SEND_MS = 15_000

/** A queue did not take what was sent to it. Its message is a sentence for people. */
export class SendFailed extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options)
    this.name = 'SendFailed'
  }
}

/** Sends events to a queue: what a command does for development, and the service never. @throws SendFailed */
export async function sendEvents(
  config: Config,
  environment: NodeJS.ProcessEnv,
  queueUrl: string,
  events: readonly object[]
): Promise<void> {
  const sqs = createSqsClient(config, environment)
  try {
    for (let start = 0; start < events.length; start += SEND_BATCH) {
      const Entries = events
        .slice(start, start + SEND_BATCH)
        .map((event, index) => ({ Id: String(index), MessageBody: JSON.stringify(event) }))
      const command = new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries })
      const { Failed = [] } = await sqs.send(command, { abortSignal: AbortSignal.timeout(SEND_MS) })
      const [refused] = Failed
      if (refused !== undefined)
        throw new SendFailed(`${queueUrl} refused an event: ${refused.Message ?? refused.Code}`)
    }
  } catch (error) {
    if (error instanceof SendFailed) throw error
    throw new SendFailed(`${queueUrl} took no event: ${describeFailure(error)}`, { cause: error })
  } finally {
    sqs.destroy()
  }
}

/** In few words: the SDK's errors for a connection that was refused have a code and no message. */
function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
  return error.message === '' ? code : error.message
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
        for (const { event, reading } of read)
          events.inc({ kind: event?.detailType ?? 'none', outcome: reading.outcome })
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
      (error: unknown) => ({
        name: 'store',
        ok: false,
        reason: error instanceof Error ? error.message : 'it does not answer'
      })
    )
    const draining = stopping
      ? { name: 'serving', ok: false, reason: 'the service is stopping' }
      : { name: 'serving', ok: true }
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
      for (const [channel, variable] of [
        ['ecs', 'ECS_EVENTS_QUEUE_URL'],
        ['ecr', 'ECR_EVENTS_QUEUE_URL']
      ] as const) {
        if (!listeners.has(channel))
          log.warn({ variable }, `no ${channel.toUpperCase()} events are read: set ${variable} to turn that on`)
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
