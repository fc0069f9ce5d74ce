import type { Digest } from '../../src/domain/digest.ts'
import type {
  ArtifactRecord,
  DeploymentRecord,
  DeploymentStatusRecord,
  EventRecord,
  ImageRecord,
  LayerRecord,
  NewScanJob,
  RequestRecord,
  RunningRecord,
  ServiceActionRecord,
  TaskRecord
} from '../../src/store/port.ts'

// Records as a store gets them, whole, with what a test wants to say laid over. A store believes what it is given: it derives
// nothing, so neither do these.

export const NOON = Date.UTC(2026, 2, 2, 12)

/** A digest that a number stands for. */
export function digest(n: number): Digest {
  return `sha256:${n.toString(16).padStart(64, '0')}`
}

export function event(given: Partial<EventRecord> = {}): EventRecord {
  return {
    key: 'event-1',
    channel: 'ecs',
    source: 'aws.ecs',
    detailType: 'ECS Task State Change',
    account: '333333333',
    eventId: 'id-1',
    time: NOON,
    sentAt: NOON + 1,
    receivedAt: NOON + 2,
    messageId: 'message-1',
    body: '{"detail":{}}',
    outcome: 'done',
    reason: null,
    ...given
  }
}

export function task(given: Partial<TaskRecord> = {}): TaskRecord {
  const key = given.key ?? 'task-1'
  return {
    key,
    slot: `slot of ${key}`,
    slotOrder: '1',
    account: '333333333',
    environment: 'dev',
    task: `arn:${key}`,
    taskDefinition: 'definition:1',
    startedBy: 'ecs-svc/1',
    group: 'service:orders',
    repository: 'orders',
    tag: '1.0.0',
    digest: null,
    imageDigest: null,
    image: 'host.example/orders:1.0.0',
    cpu: '1024',
    memory: '2048',
    stopCode: null,
    stoppedReason: null,
    exitCode: null,
    containerReason: null,
    latest: { version: 3, at: NOON, time: NOON, status: 'RUNNING', sentAt: NOON, fingerprint: 'f' },
    statuses: [{ status: 'RUNNING', at: NOON, version: 3 }],
    saidCreatedAt: NOON,
    firstSeenAt: NOON,
    saidStartedAt: null,
    firstSeenRunningAt: null,
    saidStoppedAt: null,
    createdAt: NOON,
    startedAt: null,
    stoppedAt: null,
    status: 'RUNNING',
    replaced: false,
    oneOff: false,
    service: 'orders',
    version: '1.0.0',
    deployment: 'deployment-1',
    deploymentId: 'id-1',
    ...given
  }
}

export function deployment(given: Partial<DeploymentRecord> = {}): DeploymentRecord {
  return {
    key: 'deployment-1',
    account: '333333333',
    environment: 'dev',
    service: 'orders',
    version: '1.0.0',
    startedBy: 'ecs-svc/1',
    ecsDeploymentId: 'ecs-svc/1',
    taskDefinition: 'definition:1',
    group: 'service:orders',
    oneOff: false,
    begunAt: NOON,
    firstStartedAt: null,
    madeId: 'made-1',
    portalId: null,
    deploymentId: 'id-1',
    user: null,
    userId: null,
    instanceCount: null,
    ...given
  }
}

export function status(given: Partial<DeploymentStatusRecord> = {}): DeploymentStatusRecord {
  return {
    deployment: 'deployment-1',
    status: 'RUNNING',
    environment: 'dev',
    count: 1,
    newestTask: 'task-1',
    deployedAt: NOON,
    ...given
  }
}

export function request(given: Partial<RequestRecord> = {}): RequestRecord {
  return {
    deploymentId: 'request-1',
    environment: 'dev',
    requestedService: 'orders',
    service: 'orders',
    version: '1.0.0',
    user: 'Ann',
    userId: 'u-1',
    instanceCount: 2,
    requestedAt: NOON,
    started: false,
    ...given
  }
}

export function action(given: Partial<ServiceActionRecord> = {}): ServiceActionRecord {
  return {
    key: 'action-1',
    account: '333333333',
    ecsService: 'orders',
    eventName: 'SERVICE_STEADY_STATE',
    eventType: 'INFO',
    reason: null,
    at: NOON,
    ...given
  }
}

export function running(given: Partial<RunningRecord> = {}): RunningRecord {
  return {
    environment: 'dev',
    service: 'orders',
    deployment: deployment(),
    task: task(),
    status: 'RUNNING',
    deployedAt: NOON,
    runningCount: 1,
    versions: [{ version: '1.0.0', count: 1 }],
    ...given
  }
}

export function artifact(given: Partial<ArtifactRecord> = {}): ArtifactRecord {
  return {
    repository: 'orders',
    tag: '1.0.0',
    digest: digest(1),
    manifestDigest: digest(2),
    configDigest: digest(3),
    service: 'orders',
    gitUrl: 'https://github.example/orders',
    createdAt: NOON,
    resolvedAt: NOON,
    deletedAt: null,
    placeholder: false,
    scan: 'complete',
    scanError: null,
    scannerVersion: 1,
    ...given
  }
}

export function image(given: Partial<ImageRecord> = {}): ImageRecord {
  return {
    manifestDigest: digest(2),
    configDigest: digest(3),
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    os: 'linux',
    architecture: 'amd64',
    labels: {},
    layers: [{ digest: digest(4), diffId: digest(5), size: 1, mediaType: 'application/vnd.oci.image.layer.v1.tar' }],
    scan: 'complete',
    scanError: null,
    scannerVersion: 1,
    files: [],
    ...given
  }
}

export function layer(given: Partial<LayerRecord> = {}): LayerRecord {
  return {
    digest: digest(4),
    diffId: digest(5),
    scannerVersion: 1,
    listing: new Uint8Array([0, 1, 255]),
    files: [{ path: 'app/package.json', content: digest(6), size: 2, mode: 0o644 }],
    problems: [{ path: null, reason: 'a problem' }],
    compressedBytes: 10,
    uncompressedBytes: 20,
    ...given
  }
}

export function job(given: Partial<NewScanJob> = {}): NewScanJob {
  return { repository: 'orders', tag: '1.0.0', cause: 'push', digestHint: null, requestedAt: NOON, ...given }
}
