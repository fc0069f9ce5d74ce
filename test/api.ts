/** The API for tests: the real app over a real store and a real inbox; only the registry's scan is told what to answer. */
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { createAccess } from '../src/access/access.ts'
import {
  createArtifactQueries,
  PLACEHOLDER_TAG,
  recordDelete,
  recordResolved,
  recordScanned
} from '../src/artifacts/artifacts.ts'
import { createDeploymentQueries } from '../src/deployments/deployments.ts'
import { type Digest, digestOf } from '../src/domain/digest.ts'
import { createEnvironments } from '../src/domain/environment.ts'
import { createInbox, deploymentRequested, placeholderRequested } from '../src/events/events.ts'
import { createHttp, type HttpDeps } from '../src/http/http.ts'
import type { ImageRecord, ScanState, Store } from '../src/store/port.ts'
import { createSqliteStore } from '../src/store/sqlite/sqlite.ts'

/** The sample accounts in promotion order. */
export const ACCOUNTS = {
  snd: '555555555',
  'infra-dev': '777777777',
  management: '666666666',
  dev: '333333333',
  test: '444444444',
  'perf-test': '222222222',
  prod: '111111111'
} as const

export type EnvironmentName = keyof typeof ACCOUNTS

/** The test's own clock stands still here: 2024-05-01T12:00:00Z. */
export const NOON = Date.UTC(2024, 4, 1, 12)
export const MINUTE = 60_000

/** What an ECS Task State Change says, in the words of the tests. Times are minutes after noon. */
export interface TaskStory {
  readonly environment?: EnvironmentName
  readonly image: string
  /** Tells tasks apart. */
  readonly task?: string
  readonly startedBy?: string | null
  readonly status?: string
  readonly version?: number
  readonly created?: number
  readonly started?: number | null
  readonly stopped?: number | null
  /** When the event was sent; when the last thing that it tells happened, where left out. */
  readonly time?: number
  readonly definition?: string
  readonly group?: string
  readonly stopCode?: string
  readonly stoppedReason?: string
  readonly exitCode?: number
  readonly containerReason?: string
}

export interface ImageStory {
  readonly service?: string | null
  readonly gitUrl?: string | null
  /** path → content, all in one layer. */
  readonly files?: Readonly<Record<string, string>>
  readonly scan?: ScanState
  readonly scanError?: string
  /** Minutes after noon. */
  readonly at?: number
}

const REGION = 'eu-west-2'
const iso = (minutes: number) => new Date(NOON + minutes * MINUTE).toISOString()

export function taskArn(environment: EnvironmentName, task: string): string {
  return `arn:aws:ecs:${REGION}:${ACCOUNTS[environment]}:task/cluster/${task}`
}

export function definitionArn(environment: EnvironmentName, definition: string): string {
  return `arn:aws:ecs:${REGION}:${ACCOUNTS[environment]}:task-definition/${definition}`
}

export interface ApiOptions {
  readonly deps?: Partial<HttpDeps>
  readonly host?: string
  readonly adminToken?: string
  readonly writeToken?: string
  /** Wraps the store, to make it fail. */
  readonly storeOf?: (store: Store) => Store
}

/** Starts the API on nothing but memory. Close it after use. */
export function createTestApi({ deps = {}, host = '127.0.0.1', adminToken, writeToken, storeOf }: ApiOptions = {}) {
  const memory = createSqliteStore(':memory:')
  const store = storeOf === undefined ? memory : storeOf(memory)
  const environments = createEnvironments(Object.entries(ACCOUNTS).map(([name, account]) => [account, name]))
  const log = pino({ level: 'silent' })
  let now = NOON
  const inbox = createInbox(
    { store, log, now: () => now, onCommitted: () => undefined },
    { environments, containersToIgnore: ['ssl'] }
  )
  const app = createHttp({
    store,
    environments,
    access: createAccess({ host, adminToken: adminToken ?? null, writeToken: writeToken ?? null }),
    deployments: createDeploymentQueries({ store, environments }),
    artifacts: createArtifactQueries({
      store,
      environments,
      hiddenEnvironments: ['snd'],
      teams: async () => () => []
    }),
    log,
    metrics: new Registry(),
    events: {
      submitRequest: (request) =>
        inbox.submit(deploymentRequested(request), function* (tx) {
          const kept = yield* tx.request(request.deploymentId)
          if (kept === null) throw new Error('a request was kept and is not there')
          return kept
        }),
      submitPlaceholder: ({ service, gitUrl }) =>
        inbox.submit(placeholderRequested(service, gitUrl, now), function* (tx) {
          const kept = yield* tx.artifact(service, PLACEHOLDER_TAG)
          if (kept === null) throw new Error('a placeholder was kept and is not there')
          return kept
        })
    },
    scan: { scanNow: async () => ({ outcome: 'not-found' }) },
    readiness: async () => [{ name: 'store', ok: true }],
    now: () => now,
    ...deps
  })

  let messages = 0
  async function send(body: unknown, channel: 'ecs' | 'ecr' = 'ecs') {
    messages += 1
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const [outcome] = await inbox.receive(channel, [{ messageId: `message-${messages}`, body: text, sentAt: now }])
    if (outcome !== 'done') throw new Error('an event of a test was not kept')
  }

  const ecsEvent = (environment: EnvironmentName, detailType: string, time: number, detail: object) => ({
    version: '0',
    id: `event-${messages + 1}`,
    'detail-type': detailType,
    source: 'aws.ecs',
    account: ACCOUNTS[environment],
    time: iso(time),
    region: REGION,
    resources: [] as string[],
    detail
  })

  return {
    app,
    store,
    environments,
    send,
    /** Sets the clock, in minutes after noon. */
    setClock(minutes: number) {
      now = NOON + minutes * MINUTE
    },
    /** GET, parsed. */
    async get(url: string, headers: Record<string, string> = {}) {
      const response = await app.inject({ method: 'GET', url, headers })
      return { status: response.statusCode, headers: response.headers, body: response.json() }
    },
    async post(url: string, payload?: unknown, headers: Record<string, string> = {}) {
      const response = await app.inject({
        method: 'POST',
        url,
        headers,
        ...(payload === undefined ? {} : { payload: payload as object })
      })
      return { status: response.statusCode, headers: response.headers, body: response.json() }
    },
    /** Takes in an ECS Task State Change. */
    async task(story: TaskStory) {
      const { environment = 'dev', image, task = 'task-1', startedBy = null, status = 'RUNNING', version = 1 } = story
      const { created = 0, started = status === 'RUNNING' ? created + 1 : null, stopped = null } = story
      const time = story.time ?? stopped ?? started ?? created
      const event = ecsEvent(environment, 'ECS Task State Change', time, {
        taskArn: taskArn(environment, task),
        taskDefinitionArn: definitionArn(environment, story.definition ?? 'definition:1'),
        group: story.group ?? 'service:some-service',
        startedBy,
        lastStatus: status,
        desiredStatus: status === 'STOPPED' ? 'STOPPED' : 'RUNNING',
        version,
        cpu: '1024',
        memory: '2048',
        createdAt: iso(created),
        ...(started === null ? {} : { startedAt: iso(started) }),
        ...(stopped === null ? {} : { stoppedAt: iso(stopped) }),
        updatedAt: iso(time),
        stopCode: story.stopCode,
        stoppedReason: story.stoppedReason,
        containers: [
          { name: 'app', image, lastStatus: status, exitCode: story.exitCode, reason: story.containerReason },
          { name: 'ssl', image: 'sidecar:1.0.0', lastStatus: status }
        ]
      })
      await send(event)
    },
    /** Takes in the pipeline's event. */
    async link(portalId: string, ecsDeploymentId: string, environment: EnvironmentName = 'dev', time = 0) {
      const event = ecsEvent(environment, 'ECS Lambda Deployment Updated', time, { deploymentId: ecsDeploymentId })
      await send({ ...event, cdp_deployment_id: portalId, deployed_by: { userId: 'user-9', displayName: 'A Linker' } })
    },
    /** Takes in an ECS Deployment State Change. */
    async rollout(ecsDeploymentId: string, eventName: string, time: number, reason = '', environment = 'dev' as const) {
      await send(
        ecsEvent(environment, 'ECS Deployment State Change', time, {
          deploymentId: ecsDeploymentId,
          eventType: 'INFO',
          eventName,
          updatedAt: iso(time),
          reason
        })
      )
    },
    /** Takes in an ECS Service Action. */
    async serviceAction(service: string, eventName: string, time: number, environment: EnvironmentName = 'dev') {
      const event = ecsEvent(environment, 'ECS Service Action', time, { eventType: 'INFO', eventName })
      const arn = `arn:aws:ecs:${REGION}:${ACCOUNTS[environment]}:service/cluster/${service}`
      await send({ ...event, resources: [arn] })
    },
    /** Makes an image known, as a scan would. */
    async image(repository: string, tag: string, story: ImageStory = {}) {
      const { service = repository, gitUrl = null, files = {}, scan = 'complete', scanError = null, at = 0 } = story
      const manifestDigest = digestOf(`${repository}:${tag}`)
      const layer = digestOf(`layer of ${repository}:${tag}`)
      const contents = Object.entries(files).map(([path, content]) => {
        const bytes = Buffer.from(content)
        return { path, bytes, content: digestOf(bytes), size: bytes.length }
      })
      await store.putLayer(
        {
          digest: layer,
          diffId: layer,
          scannerVersion: 1,
          listing: new Uint8Array(),
          files: contents.map(({ path, content, size }) => ({ path, content, size, mode: 0o644 })),
          problems: [],
          compressedBytes: 0,
          uncompressedBytes: 0
        },
        contents.map(({ content, bytes }) => ({ digest: content, bytes })),
        []
      )
      const record: ImageRecord = {
        manifestDigest,
        configDigest: digestOf(`config of ${repository}:${tag}`),
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        os: 'linux',
        architecture: 'amd64',
        labels: {},
        layers: [],
        scan,
        scanError,
        scannerVersion: 1,
        files: contents.map(({ path, content, size }) => ({ path, layer, content, size }))
      }
      await store.transact(function* (tx) {
        yield* recordScanned(tx, record)
        const resolvedAt = NOON + at * MINUTE
        const digests: Digest[] = [manifestDigest]
        const tagged = {
          repository,
          tag,
          resolvedAt,
          digest: manifestDigest,
          digests,
          service,
          gitUrl,
          isWitness: true
        }
        yield* recordResolved(tx, tagged, record)
      })
      return { manifestDigest, configDigest: record.configDigest, layer }
    },
    /** Deletes a tag, as an ECR event would. */
    async deleteTag(repository: string, tag: string, at = 60) {
      await store.transact((tx) => recordDelete(tx, { repository, tag, at: NOON + at * MINUTE }))
    },
    async close() {
      await app.close()
      await memory.close()
    }
  }
}

export type TestApi = ReturnType<typeof createTestApi>
