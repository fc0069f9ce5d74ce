/**
 * What the service keeps, and what can be asked of a store. Two rules hold everywhere:
 *
 * - Times are milliseconds since 1970 UTC, digests carry their algorithm, a missing value is `null`.
 * - Everything that must agree is written in one transaction. A transaction's work is a generator, so that the same code
 *   runs in SQLite without a single `await` (another request's write would fall between) and in a store whose
 *   driver answers later: see `Work`.
 */
import type { Digest } from '../domain/digest.ts'

/**
 * The work of a transaction: a generator that asks the transaction for records and gives it new ones. A store whose
 * driver answers at once never yields; another yields its promises and its runner sends the results back. It may be run
 * again from the start after a conflict, so it touches nothing but its transaction.
 */
export type Work<T> = Generator<Promise<unknown>, T, unknown>

// ---------------------------------------------------------------------------------------------------------- the event log

export const EVENT_OUTCOMES = ['done', 'ignored', 'rejected'] as const
/** What became of an event: it was applied; it was understood and is none of our business; it can never succeed. */
export type EventOutcome = (typeof EVENT_OUTCOMES)[number]

/** An event as it came: from a queue, or from the service itself (a request, a placeholder). */
export interface EventRecord {
  /** Identifies equal events: made of source, account, id and content. */
  readonly key: string
  /** The channel that it came by: `ecs` and `ecr` are the queues, `portal` is the service's own API. */
  readonly channel: 'ecs' | 'ecr' | 'portal'
  readonly source: string | null
  readonly detailType: string | null
  readonly account: string | null
  readonly eventId: string | null
  /** When it happened, as the event says, else when it was sent. */
  readonly time: number
  readonly sentAt: number
  readonly receivedAt: number
  readonly messageId: string
  /** The message's body, unchanged. */
  readonly body: string
  readonly outcome: EventOutcome
  readonly reason: string | null
}

/** An event with its place in the log, which only grows. */
export interface LoggedEvent extends EventRecord {
  readonly sequence: number
  /** How many more times the same event came. */
  readonly duplicates: number
}

export interface EventFilter {
  readonly outcome?: EventOutcome
  /** An event's `source`, such as `aws.ecs`. */
  readonly source?: string
}

// ------------------------------------------------------------------------------------------------------------ deployments

/** One status that a task was seen in. */
export interface StatusSeen {
  readonly status: string
  readonly at: number
  /** `detail.version` of the event; 0 where it has none. */
  readonly version: number
}

/** One task and one image in it: what ECS runs. Its key is made of account, task, repository, task definition and `startedBy`. */
export interface TaskRecord {
  readonly key: string
  /** Records of one slot (account, task, repository) follow each other: only the last one lives. */
  readonly slot: string
  /** Sorts the records of a slot. */
  readonly slotOrder: string
  readonly account: string
  readonly environment: string
  /** The task's ARN, or what stood for it. */
  readonly task: string
  readonly taskDefinition: string | null
  readonly startedBy: string | null
  readonly group: string | null
  readonly repository: string
  readonly tag: string | null
  /** The digest that the image is pinned to by its name. */
  readonly digest: Digest | null
  /** The digest that ECS says it pulled: an index's or a manifest's. */
  readonly imageDigest: Digest | null
  /** The image as ECS gave it. */
  readonly image: string
  readonly cpu: string | null
  readonly memory: string | null
  readonly stopCode: string | null
  readonly stoppedReason: string | null
  readonly exitCode: number | null
  readonly containerReason: string | null
  /** Where the newest event stands among this task's events: see `deployments/task.ts`. */
  readonly latest: {
    readonly version: number
    readonly at: number
    readonly time: number
    readonly status: string
    readonly sentAt: number
    readonly fingerprint: string
  }
  /** The distinct statuses seen, oldest first; at most 32, the newest ones. */
  readonly statuses: readonly StatusSeen[]
  /** The earliest `createdAt` that an event gave; null while none did. */
  readonly saidCreatedAt: number | null
  /** The earliest time of any of its events. */
  readonly firstSeenAt: number
  readonly saidStartedAt: number | null
  readonly firstSeenRunningAt: number | null
  readonly saidStoppedAt: number | null

  // What follows is derived from the above, the slot's next record and the known artifacts.

  readonly createdAt: number
  readonly startedAt: number | null
  /** When it stopped, or its slot's next record began; null while it lives. */
  readonly stoppedAt: number | null
  readonly status: string
  /** Whether a later record of the slot ended it, rather than an event of its own. */
  readonly replaced: boolean
  /** A one-off task (`family:` group): it is a deployment's record, and runs no service. */
  readonly oneOff: boolean
  /** The label of the image's artifact; null while the image is unknown or has none. */
  readonly service: string | null
  /** The tag of the artifact; null with `service`. */
  readonly version: string | null
  /** The key of its deployment; null with `service`. */
  readonly deployment: string | null
  /** The public id of its deployment, repeated here because lists are ordered by it. */
  readonly deploymentId: string | null
}

/** A deployment: the tasks of one account and service that have one `startedBy`, or, without that, one task definition. */
export interface DeploymentRecord {
  readonly key: string
  readonly account: string
  readonly environment: string
  readonly service: string
  /** The tag of its newest task's artifact. */
  readonly version: string
  readonly startedBy: string | null
  /** The ECS deployment's id, `ecs-svc/…`; null for tasks that no ECS deployment started. */
  readonly ecsDeploymentId: string | null
  readonly taskDefinition: string | null
  readonly group: string | null
  readonly oneOff: boolean
  /** When its first task was created. */
  readonly begunAt: number
  /** When its first task started; null while none has. */
  readonly firstStartedAt: number | null
  /** The id made of account, service and task definition: always understood, shown where there is no better one. */
  readonly madeId: string
  /** The portal's id, by a link event or by a request that fits; null while nothing links it. */
  readonly portalId: string | null
  /** The id that the API shows. */
  readonly deploymentId: string
  readonly user: string | null
  readonly userId: string | null
  /** How many instances its request asked for. */
  readonly instanceCount: number | null
}

/** The tasks of one deployment in one status, counted as they change. */
export interface DeploymentStatusRecord {
  readonly deployment: string
  readonly status: string
  readonly environment: string
  readonly count: number
  /** The newest of them, by `deployedAt` and task. */
  readonly newestTask: string
  /** That task's start (creation, while it has not started). */
  readonly deployedAt: number
}

/** A deployment that somebody asked the portal for. */
export interface RequestRecord {
  readonly deploymentId: string
  readonly environment: string
  /** What was sent: a service's name or its image's. */
  readonly requestedService: string
  /** The service that this names; as sent where none is known. */
  readonly service: string
  readonly version: string
  readonly user: string | null
  readonly userId: string | null
  readonly instanceCount: number | null
  readonly requestedAt: number
  /** Whether a deployment with tasks carries this request's id: then its tasks are shown, not the request. */
  readonly started: boolean
}

/** The pipeline's word that a portal deployment became an ECS deployment. */
export interface LinkRecord {
  readonly account: string
  readonly ecsDeploymentId: string
  readonly portalId: string
  readonly user: string | null
  readonly userId: string | null
  readonly at: number
}

/** The last `ECS Deployment State Change` of an ECS deployment. */
export interface RolloutRecord {
  readonly account: string
  readonly ecsDeploymentId: string
  readonly eventName: string
  readonly eventType: string | null
  readonly reason: string | null
  readonly at: number
}

/** An `ECS Service Action`: a note on the newest deployment of an ECS service at that time. */
export interface ServiceActionRecord {
  readonly key: string
  readonly account: string
  /** The ECS service's name: the last part of its ARN. */
  readonly ecsService: string
  readonly eventName: string
  readonly eventType: string | null
  readonly reason: string | null
  readonly at: number
}

/** What runs of one service in one environment: kept ready, so that reading it does not depend on history. */
export interface RunningRecord {
  readonly environment: string
  readonly service: string
  /** The newest deployment with a running task; where none runs, the newest with a live one. */
  readonly deployment: DeploymentRecord
  /** The newest live task of that deployment. */
  readonly task: TaskRecord
  /** The status of that deployment's furthest live task. */
  readonly status: string
  /** When that deployment's first task started (was created, while none has). */
  readonly deployedAt: number
  /** Running tasks of that deployment. */
  readonly runningCount: number
  /** The versions of all live tasks of the service here, newest version first. */
  readonly versions: readonly { readonly version: string; readonly count: number }[]
}

/** A task with its deployment, as lists show it; or a request that has no task yet. */
export type DeploymentRow =
  | { readonly kind: 'task'; readonly task: TaskRecord; readonly deployment: DeploymentRecord }
  | { readonly kind: 'request'; readonly request: RequestRecord }

/** One entry of the squashed list. */
export type SquashedRow =
  | { readonly kind: 'task'; readonly task: TaskRecord; readonly deployment: DeploymentRecord; readonly count: number }
  | { readonly kind: 'request'; readonly request: RequestRecord }

/** One version of a service in one environment. */
export interface VersionInEnvironment {
  readonly environment: string
  readonly service: string
  readonly version: string
}

/** A stretch of time, both ends part of it. */
export interface Period {
  readonly from: number
  readonly to: number
}

export interface Page {
  /** Rows left out at the start. */
  readonly offset: number
  readonly limit: number
}

export interface PageOf<T> {
  readonly rows: readonly T[]
  /** Rows in all, on every page. */
  readonly total: number
}

// ---------------------------------------------------------------------------------------------------- artifacts and images

export const SCAN_STATES = ['pending', 'complete', 'partial', 'failed'] as const
/** How far an image was read: not yet; wholly; with something left out, as the error says; not at all. */
export type ScanState = (typeof SCAN_STATES)[number]

/** When a tag was pushed and deleted, as events and registries said: the later one wins. */
export interface TagRecord {
  readonly repository: string
  readonly tag: string
  readonly pushedAt: number | null
  readonly deletedAt: number | null
}

/** One (repository, tag): what the tag names now. */
export interface ArtifactRecord {
  readonly repository: string
  readonly tag: string
  /** The digest that the tag resolved to: an index's or a manifest's; null for a placeholder. */
  readonly digest: Digest | null
  /** The manifest that was scanned: the platform's, where `digest` is an index's; null for a placeholder. */
  readonly manifestDigest: Digest | null
  readonly configDigest: Digest | null
  readonly service: string | null
  readonly gitUrl: string | null
  /** When it was first scanned (a placeholder: when it was made). */
  readonly createdAt: number
  /** When the registry last said what the tag names: an older word never replaces a newer one. */
  readonly resolvedAt: number
  /** When it was deleted; null while it is in the registry. */
  readonly deletedAt: number | null
  readonly placeholder: boolean
  readonly scan: ScanState
  readonly scanError: string | null
  readonly scannerVersion: number
}

/** What a digest was known as in a repository: it stays when the tag moves on. */
export interface RevisionRecord {
  readonly repository: string
  readonly digest: Digest
  readonly tag: string
  readonly service: string | null
  readonly resolvedAt: number
}

/** A regular file of an image's final file system that was kept. */
export interface ImageFile {
  /** From the root, without a leading slash. */
  readonly path: string
  /** The layer that put this path here. */
  readonly layer: Digest
  readonly content: Digest
  readonly size: number
}

/** A container image's manifest with what was read of it: shared by all tags that name it. */
export interface ImageRecord {
  readonly manifestDigest: Digest
  readonly configDigest: Digest
  readonly mediaType: string
  readonly os: string
  readonly architecture: string
  readonly labels: Readonly<Record<string, string>>
  readonly layers: readonly { digest: Digest; diffId: Digest; size: number; mediaType: string }[]
  readonly scan: ScanState
  readonly scanError: string | null
  readonly scannerVersion: number
  readonly files: readonly ImageFile[]
}

/** A layer that was read and verified; one that failed is stored nowhere. */
export interface LayerRecord {
  readonly digest: Digest
  readonly diffId: Digest
  /** The version of the reader and all extractors that read it. */
  readonly scannerVersion: number
  /** Every path with its kind, encoded by `layers/`. */
  readonly listing: Uint8Array
  readonly files: readonly {
    readonly path: string
    readonly content: Digest
    readonly size: number
    readonly mode: number
  }[]
  /** What was left out, and why. */
  readonly problems: readonly { readonly path: string | null; readonly reason: string }[]
  readonly compressedBytes: number
  readonly uncompressedBytes: number
}

/** A package as an extractor found it in one file. */
export interface FoundPackage {
  readonly purl: string
  readonly type: string
  /** An npm scope with its `@`, a Maven group; null where a package has none. */
  readonly namespace: string | null
  readonly name: string
  readonly version: string
  readonly evidence: 'installed' | 'declared'
}

/** What one version of an extractor read from one content. */
export interface ExtractionRecord {
  readonly content: Digest
  readonly extractor: string
  readonly extractorVersion: number
  readonly packages: readonly FoundPackage[]
  /** Why the file could not be read; null where it could. */
  readonly error: string | null
}

export interface ContentRecord {
  readonly digest: Digest
  readonly bytes: Uint8Array
}

// -------------------------------------------------------------------------------------------------------------- scan jobs

export const JOB_STATES = ['queued', 'running', 'done', 'failed', 'cancelled'] as const
export type JobState = (typeof JOB_STATES)[number]

export type ScanCause = 'push' | 'admin'

/** A scan of one (repository, tag) that somebody asked for. */
export interface ScanJob {
  readonly id: number
  readonly repository: string
  readonly tag: string
  /** Everybody who asked while it waited, each once: a push event, an administrator. */
  readonly causes: readonly ScanCause[]
  /** The digest that the event named: a hint. */
  readonly digestHint: string | null
  readonly state: JobState
  readonly requestedAt: number
  /** Not before this time: when it was asked for, or when its next attempt is due. */
  readonly dueAt: number
  readonly attempts: number
  /** How many times its lease ran out: whoever worked on it died of something, perhaps of this image. */
  readonly lapses: number
  /** Who works on it, until when, and the fencing token of that lease: a writer with an older token is refused. */
  readonly leaseOwner: string | null
  readonly leaseUntil: number | null
  readonly token: number
  readonly errorCode: string | null
  readonly error: string | null
  /** Something worth knowing that is no failure. */
  readonly note: string | null
  readonly endedAt: number | null
}

export interface NewScanJob extends Pick<ScanJob, 'repository' | 'tag' | 'digestHint' | 'requestedAt'> {
  readonly cause: ScanCause
}

/** Names something that one owner at a time holds. */
export interface LeaseRecord {
  readonly name: string
  readonly owner: string
  readonly until: number
}

// -------------------------------------------------------------------------------------------------------- the transaction

/** What a transaction can read and write: a consistent picture, and all of its writes or none. */
export interface Transaction {
  /** Adds an event at the end of the log. A key that is there already adds nothing, counts one more duplicate, and answers false. */
  appendEvent(event: EventRecord): Work<boolean>
  /** Writes another outcome into a logged event: reading it again may end otherwise, under other settings. */
  reviseEvent(sequence: number, outcome: EventOutcome, reason: string | null): Work<void>

  task(key: string): Work<TaskRecord | null>
  putTask(task: TaskRecord): Work<void>
  /** The records just before and after this place in the slot, the record `key` itself left out. */
  slotNeighbours(
    slot: string,
    slotOrder: string,
    key: string
  ): Work<{ previous: TaskRecord | null; next: TaskRecord | null }>
  /** The tasks of a repository that name this tag, or one of these digests. */
  tasksOfImage(repository: string, tag: string, digests: readonly string[]): Work<readonly TaskRecord[]>
  /** Live tasks of a service in an environment, one-off tasks left out. */
  liveTasks(environment: string, service: string): Work<readonly TaskRecord[]>
  /** First creation, first start and newest task of a deployment; null where it has no task. */
  deploymentExtent(
    deployment: string
  ): Work<{ begunAt: number; firstStartedAt: number | null; newest: TaskRecord } | null>
  /** The newest task of a deployment in a status; null where it has none. */
  newestTaskInStatus(deployment: string, status: string): Work<TaskRecord | null>

  deployment(key: string): Work<DeploymentRecord | null>
  /** Writes the deployment, and its public id into its tasks. */
  putDeployment(deployment: DeploymentRecord): Work<void>
  removeDeployment(key: string): Work<void>
  deploymentsOfEcsDeployment(account: string, ecsDeploymentId: string): Work<readonly DeploymentRecord[]>
  /** Deployments of a version (any tag of it) that are no one-off tasks and began in a period, oldest first. */
  deploymentsOfVersion(of: VersionInEnvironment, begun: Period): Work<readonly DeploymentRecord[]>

  deploymentStatus(deployment: string, status: string): Work<DeploymentStatusRecord | null>
  putDeploymentStatus(record: DeploymentStatusRecord): Work<void>
  removeDeploymentStatus(deployment: string, status: string): Work<void>

  request(deploymentId: string): Work<RequestRecord | null>
  putRequest(request: RequestRecord): Work<void>
  /** Requests for a version (any tag of it) that were made in a period, oldest first. */
  requestsOfVersion(of: VersionInEnvironment, requested: Period): Work<readonly RequestRecord[]>
  /** Requests that were sent with this name. */
  requestsNaming(requestedService: string): Work<readonly RequestRecord[]>

  link(account: string, ecsDeploymentId: string): Work<LinkRecord | null>
  putLink(link: LinkRecord): Work<void>
  linksOfPortalId(portalId: string): Work<readonly LinkRecord[]>

  rollout(account: string, ecsDeploymentId: string): Work<RolloutRecord | null>
  putRollout(rollout: RolloutRecord): Work<void>
  putServiceAction(action: ServiceActionRecord): Work<void>

  putRunning(running: RunningRecord): Work<void>
  removeRunning(environment: string, service: string): Work<void>

  tag(repository: string, tag: string): Work<TagRecord | null>
  putTag(tag: TagRecord): Work<void>
  artifact(repository: string, tag: string): Work<ArtifactRecord | null>
  putArtifact(artifact: ArtifactRecord): Work<void>
  /** The highest version of an image that carries a service label, deleted ones too; null where there is none. */
  newestArtifactOfImage(repository: string): Work<ArtifactRecord | null>
  /** Whether an artifact, deleted or not, carries this service label. */
  isServiceKnown(service: string): Work<boolean>
  artifactsOfManifest(manifestDigest: Digest): Work<readonly ArtifactRecord[]>
  revisionsOfDigest(repository: string, digest: string): Work<readonly RevisionRecord[]>
  putRevision(revision: RevisionRecord): Work<void>
  image(manifestDigest: Digest): Work<ImageRecord | null>
  putImage(image: ImageRecord): Work<void>

  /**
   * Adds a job, due at once; where one for the same tag waits already, that one serves both: it is due at once, its attempts
   * begin anew, it has both causes, and the newest hint. Answers the job's id.
   */
  addScanJob(job: NewScanJob): Work<number>
  /** The job for a tag that waits and is not being worked on; there is at most one. */
  waitingScanJob(repository: string, tag: string): Work<ScanJob | null>
  scanJob(id: number): Work<ScanJob | null>
  /** Writes a known job. Two jobs for one tag must not wait at once: see `waitingScanJob`. */
  putScanJob(job: ScanJob): Work<void>

  /** Empties everything that the event log can rebuild: tasks, deployments, requests, links, rollouts, actions, what runs. */
  clearDeployments(): Work<void>
}

// --------------------------------------------------------------------------------------------------------------- the store

export interface Store {
  /** For people: which store this is, without credentials. */
  readonly description: string

  /**
   * Runs the work in one transaction that is durable when the promise resolves: all of its writes or, where it throws, none.
   * @throws StoreError `unavailable` where the store cannot be reached, `busy` where another writer holds it for too long.
   */
  transact<T>(work: (transaction: Transaction) => Work<T>): Promise<T>

  /** Answers when the store answers. @throws StoreError */
  ping(): Promise<void>
  /** Closes it; again does nothing. Every other call fails from then on, as `unavailable`. */
  close(): Promise<void>

  /** Newest first. */
  events(filter: EventFilter, page: Page): Promise<PageOf<LoggedEvent>>
  /** The events after a place in the log, oldest first. */
  eventsAfter(sequence: number, limit: number): Promise<readonly LoggedEvent[]>
  /** Whether the log still holds every event that was ever written to it. */
  isEventLogWhole(): Promise<boolean>

  /** Tasks of known services, one row each, and requests without a task: by `deployedAt`, newest first, then environment, service, deployment, task. */
  deploymentRows(filter: { environment?: string }, page: Page): Promise<PageOf<DeploymentRow>>
  /** One row for each deployment and status, and requests without a task: ordered as `deploymentRows`, then by status. */
  squashedRows(filter: { environment?: string }, page: Page): Promise<PageOf<SquashedRow>>
  /** The newest deployment that any of its ids names: the portal's, ECS's, the made one, or the task definition. */
  deploymentNamed(id: string): Promise<DeploymentRecord | null>
  requestNamed(id: string): Promise<RequestRecord | null>
  /** The tasks of a deployment, in the order of lists; at most `limit`, the newest. */
  tasksOfDeployment(deployment: string, limit: number): Promise<readonly TaskRecord[]>
  rolloutOf(account: string, ecsDeploymentId: string): Promise<RolloutRecord | null>
  linksOf(portalId: string): Promise<readonly LinkRecord[]>
  linksOfEcsDeployment(ecsDeploymentId: string): Promise<readonly LinkRecord[]>
  /**
   * What ECS said of a service from a deployment's beginning until before the next deployment of the same group there, oldest
   * first; at most `limit`, the newest.
   */
  serviceActionsOf(deployment: DeploymentRecord, limit: number): Promise<readonly ServiceActionRecord[]>
  /** What runs now, of all services or of one: by service, then environment. */
  running(service?: string): Promise<readonly RunningRecord[]>
  /** The tasks that were live at a time, with their deployments; one-off tasks left out. */
  tasksLiveAt(at: number, service?: string): Promise<readonly { task: TaskRecord; deployment: DeploymentRecord }[]>

  /** All artifacts, or those of one image, by name, then newest version first; deleted ones left out. */
  artifacts(repository?: string): Promise<readonly ArtifactRecord[]>
  /** The newest artifact of each service, or of one: the highest version, a placeholder last; deleted ones left out. By service. */
  newestArtifacts(service?: string): Promise<readonly ArtifactRecord[]>
  /** The images that have an artifact with a service label and a release tag that is not deleted, by name. */
  deployableImages(): Promise<readonly string[]>
  /** One, also when it is deleted. */
  artifact(repository: string, tag: string): Promise<ArtifactRecord | null>
  image(manifestDigest: Digest): Promise<ImageRecord | null>
  layer(digest: Digest): Promise<LayerRecord | null>
  /** Stores a verified layer with the contents and extractions that are not there yet; again changes nothing. */
  putLayer(
    layer: LayerRecord,
    contents: readonly ContentRecord[],
    extractions: readonly ExtractionRecord[]
  ): Promise<void>
  /**
   * Lets kept contents be found by the paths that links of a layer gave them, in that layer or above it. What a layer has
   * under a path already stays.
   */
  putLinkedFiles(files: readonly Pick<ImageFile, 'path' | 'layer' | 'content'>[]): Promise<void>
  /** Which of these contents a version of an extractor has read already. */
  extractions(contents: readonly Digest[]): Promise<readonly ExtractionRecord[]>
  /** A kept file of a layer; null where that layer or path is unknown. */
  layerFile(layer: Digest, path: string): Promise<Uint8Array | null>

  /** Takes a job whose lease ran out, counting one more lapse, else the job that is due longest, for `leaseMs`. */
  leaseScanJob(owner: string, now: number, leaseMs: number): Promise<ScanJob | null>
  /** Extends a lease; false where it was lost. */
  renewScanJob(id: number, token: number, until: number): Promise<boolean>
  /** When the next waiting job is due or the next lease runs out; null where there is none. */
  nextScanJobDue(): Promise<number | null>
  /** Newest first: by id. */
  scanJobs(state: JobState | undefined, page: Page): Promise<PageOf<ScanJob>>
  scanJob(id: number): Promise<ScanJob | null>
  countScanJobs(): Promise<Readonly<Record<JobState, number>>>

  /** Takes or renews a lease; false where another owner holds it. */
  takeLease(name: string, owner: string, now: number, leaseMs: number): Promise<boolean>
  releaseLease(name: string, owner: string): Promise<void>
  /** Leases whose name begins so and that have not run out, by name. */
  leases(prefix: string, now: number): Promise<readonly LeaseRecord[]>

  /** Small facts about the store itself. */
  setting(name: string): Promise<string | null>
  /** `null` forgets it. */
  putSetting(name: string, value: string | null): Promise<void>
}

export type StoreErrorCode = 'unavailable' | 'busy' | 'full' | 'too-new'

/** The store could not do what it was asked, whatever that was; nothing of it was done. */
export class StoreError extends Error {
  readonly code: StoreErrorCode
  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
    this.code = code
  }
}
