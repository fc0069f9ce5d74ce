/**
 * Runs the scan jobs that the store keeps: each is leased with a fencing token, so that several instances share the work and
 * one that comes back from the dead cannot overwrite what another has done.
 */
import type { Logger } from 'pino'
import { isTagDeleted, recordResolved, recordScanned } from '../artifacts/artifacts.ts'
import {
  isPassing,
  type Platform,
  type Registry,
  RegistryError,
  type RegistryErrorCode,
  type ResolvedImage,
  resolveImage
} from '../registry/registry.ts'
import {
  type ArtifactRecord,
  type ImageRecord,
  type ScanJob,
  type Store,
  StoreError,
  type Transaction,
  type Work
} from '../store/port.ts'
import { type LabelNames, labelsOf } from './labels.ts'
import type { ImageReader } from './read-image.ts'

/** What became of a scan that somebody waits for. */
export type ScanNowResult =
  | { readonly outcome: 'scanned'; readonly artifact: ArtifactRecord }
  /** The registry has no such image. */
  | { readonly outcome: 'not-found' }
  /** It is there, and no image that can be scanned. */
  | { readonly outcome: 'failed'; readonly error: string }
  /** The registry could not be asked, or the scan took too long to wait for. */
  | { readonly outcome: 'unavailable'; readonly error: string }

export interface Scanner {
  start(): void
  /** Gives back what is in hand and takes no more. */
  stop(): Promise<void>
  /** Looks for due jobs now: one was just added. */
  wake(): void
  /** Adds a job and waits for its end. @throws StoreError */
  scanNow(repository: string, tag: string, signal?: AbortSignal): Promise<ScanNowResult>
}

export interface ScannerDeps {
  readonly store: Store
  readonly registry: Registry
  readonly reader: ImageReader
  readonly log: Logger
  readonly now: () => number
  /** Names this instance in leases. */
  readonly instance: string
  /** Told of each attempt that ended, for metrics. */
  readonly onAttempt?: (result: 'done' | 'retried' | 'failed' | 'cancelled', milliseconds: number) => void
}

export interface ScannerOptions {
  /** Jobs at once. */
  readonly concurrency: number
  readonly platform: Platform | null
  readonly labels: LabelNames
  readonly leaseMs?: number
  /** How often an idle runner looks for jobs that another instance added. */
  readonly pollMs?: number
  /** The delay after the first attempt that failed; it doubles up to `MAX_RETRY_MS`. */
  readonly firstRetryMs?: number
}

const LEASE_MS = 60_000
const POLL_MS = 2_000
const FIRST_RETRY_MS = 1_000
const MAX_RETRY_MS = 5 * 60_000
/** A push event may overtake its image by moments, not by hours: after these attempts (about four minutes) it is not there. */
const NOT_FOUND_ATTEMPTS = 8
/** A fault of this program, or a document that was damaged on its way, may pass; one that stays is shown. */
const UNCLEAR_ATTEMPTS = 4
/** A job whose lease ran out so often takes its process down with it. */
const MAX_LAPSES = 3
const SCAN_NOW_MS = 10 * 60_000
const SCAN_NOW_POLL_MS = 50

class LeaseLost extends Error {}

/** What is kept of a failure: a code for programs, a sentence for people. */
function faultOf(error: unknown): { code: RegistryErrorCode | 'store' | 'internal'; message: string } {
  if (error instanceof RegistryError) return error
  if (error instanceof StoreError) return { code: 'store', message: error.message }
  return { code: 'internal', message: 'an unexpected fault, see the log' }
}

/** The failures after which the registry, or the store, is to be asked again. */
const AWAY: readonly string[] = ['unavailable', 'throttled', 'timeout', 'unauthorized', 'store']

/** How long to wait before the next attempt, in milliseconds: doubling, within a bound. */
export function retryDelay(attempts: number, first = FIRST_RETRY_MS): number {
  return Math.min(first * 2 ** Math.min(Math.max(attempts, 1) - 1, 20), MAX_RETRY_MS)
}

export function createScanner(deps: ScannerDeps, options: ScannerOptions): Scanner {
  const { store, registry, reader, log, now, instance } = deps
  const leaseMs = options.leaseMs ?? LEASE_MS
  const pollMs = options.pollMs ?? POLL_MS
  const stopping = new AbortController()
  let workers: Promise<void>[] = []
  const idlers = new Set<() => void>()

  /** The job as it is now, where this lease still holds. */
  function* holding(tx: Transaction, job: ScanJob): Work<ScanJob> {
    const current = yield* tx.scanJob(job.id)
    if (current === null || current.state !== 'running' || current.token !== job.token) throw new LeaseLost()
    return current
  }

  const free = { leaseOwner: null, leaseUntil: null }

  function* end(tx: Transaction, job: ScanJob, ended: Partial<ScanJob> & Pick<ScanJob, 'state'>): Work<void> {
    const current = yield* holding(tx, job)
    yield* tx.putScanJob({ ...current, ...free, errorCode: null, error: null, endedAt: now(), ...ended })
  }

  /** Puts a job back into the queue; where another waits for the same tag already, that one does its work. */
  function* requeue(tx: Transaction, job: ScanJob, waiting: Partial<ScanJob>): Work<void> {
    const current = yield* holding(tx, job)
    if ((yield* tx.waitingScanJob(job.repository, job.tag)) !== null) {
      const { errorCode = null, error = null } = waiting
      yield* end(tx, job, {
        state: 'cancelled',
        errorCode,
        error,
        note: 'a newer job for the same tag took its place'
      })
    } else {
      yield* tx.putScanJob({ ...current, ...free, ...waiting, state: 'queued' })
    }
  }

  function imageOf(resolved: ResolvedImage): ImageRecord {
    const { manifestDigest, mediaType, platform, config, layers } = resolved
    return {
      manifestDigest,
      configDigest: config.digest,
      mediaType,
      os: platform.os,
      architecture: platform.architecture,
      labels: config.labels,
      layers: layers.map(({ digest, diffId, size, mediaType: layerType }) => ({
        digest,
        diffId,
        size,
        mediaType: layerType
      })),
      scan: 'pending',
      scanError: null,
      scannerVersion: reader.scannerVersion,
      files: []
    }
  }

  async function scan(job: ScanJob, signal: AbortSignal): Promise<void> {
    const { repository, tag } = job
    const source = registry.image(repository)
    const resolvedAt = now()
    const resolved = await resolveImage(source, tag, { platform: options.platform ?? undefined }, signal)
    const known = await store.image(resolved.manifestDigest)
    const image = known ?? imageOf(resolved)
    const isRead = known?.scan === 'complete' && known.scannerVersion === reader.scannerVersion
    const named = [resolved.digest, ...resolved.digests, resolved.manifestDigest]
    const note =
      job.digestHint === null || (named as string[]).includes(job.digestHint)
        ? null
        : `the event named ${job.digestHint}, the registry answered ${resolved.digest}`
    const { labels } = resolved.config
    // The artifact is known from here on: an unreadable layer must not hide what runs.
    await store.transact(function* (tx) {
      yield* holding(tx, job)
      if (known === null) yield* tx.putImage(image)
      yield* recordResolved(
        tx,
        {
          repository,
          tag,
          resolvedAt,
          digest: resolved.digest,
          digests: [...new Set(named)] as ResolvedImage['digests'],
          ...labelsOf(labels, options.labels),
          isWitness: job.causes.includes('admin')
        },
        image
      )
      if (isRead) yield* end(tx, job, { state: 'done', note })
    })
    if (isRead) return
    const reading = await reader.read(source, image.layers, signal)
    await store.transact(function* (tx) {
      yield* recordScanned(tx, { ...image, ...reading.result, scannerVersion: reader.scannerVersion })
      yield* end(tx, job, { state: 'done', note })
    })
  }

  /** Decides what becomes of a job whose attempt failed. */
  async function settle(job: ScanJob, error: unknown): Promise<'retried' | 'failed' | 'cancelled'> {
    const { code, message } = faultOf(error)
    const isUnclear = code === 'internal' || code === 'digest-mismatch'
    // Wrong credentials are put right by somebody some day, as a registry or a store that is away comes back some day.
    const isWorthWaiting = isPassing(error) || code === 'unauthorized' || error instanceof StoreError
    const attemptsLeft = isWorthWaiting
      ? Number.POSITIVE_INFINITY
      : code === 'not-found'
        ? NOT_FOUND_ATTEMPTS
        : isUnclear
          ? UNCLEAR_ATTEMPTS
          : 0
    // An administrator waits for one attempt and is told of it; a push event has nobody who would ask again.
    const mayRetry = job.causes.includes('push') && job.attempts < attemptsLeft
    return store.transact(function* (tx): Work<'retried' | 'failed' | 'cancelled'> {
      if (code === 'not-found' && (yield* isTagDeleted(tx, job.repository, job.tag))) {
        yield* end(tx, job, { state: 'cancelled', errorCode: code, error: message, note: 'the tag was deleted' })
        return 'cancelled'
      }
      if (mayRetry) {
        const dueAt = now() + retryDelay(job.attempts, options.firstRetryMs)
        yield* requeue(tx, job, { dueAt, errorCode: code, error: message })
        return 'retried'
      }
      yield* end(tx, job, { state: 'failed', errorCode: code, error: message })
      return 'failed'
    })
  }

  /** Writes what becomes of a job whose attempt failed, or was broken off by a stop. @throws LeaseLost, StoreError */
  async function conclude(job: ScanJob, error: unknown, startedAt: number): Promise<void> {
    const { id: jobId, repository, tag } = job
    if (stopping.signal.aborted) {
      await store.transact((tx) => requeue(tx, job, { attempts: job.attempts - 1, dueAt: now() }))
      return
    }
    const { code, message } = faultOf(error)
    if (code === 'internal') log.error({ jobId, repository, tag, err: error }, 'scan failed unexpectedly')
    const result = await settle(job, error)
    deps.onAttempt?.(result, now() - startedAt)
    log.warn({ jobId, repository, tag, result, code, reason: message }, 'image not scanned')
  }

  /** Works on a leased job until it is done, given back or lost. */
  async function work(job: ScanJob): Promise<void> {
    const startedAt = now()
    const lost = new AbortController()
    const heartbeat = setInterval(() => {
      store.renewScanJob(job.id, job.token, now() + leaseMs).then(
        (held) => held || lost.abort(new LeaseLost()),
        (error: unknown) => log.warn({ jobId: job.id, err: error }, 'a lease could not be renewed')
      )
    }, leaseMs / 3)
    const { id: jobId, repository, tag } = job
    try {
      if (job.lapses > MAX_LAPSES) {
        await store.transact((tx) =>
          end(tx, job, {
            state: 'failed',
            errorCode: 'lapsed',
            error: 'whoever scanned it stopped without a word, several times'
          })
        )
        return
      }
      await scan(job, AbortSignal.any([stopping.signal, lost.signal]))
      deps.onAttempt?.('done', now() - startedAt)
      log.info({ jobId, repository, tag, milliseconds: now() - startedAt }, 'image scanned')
    } catch (error) {
      try {
        if (error instanceof LeaseLost || lost.signal.aborted) throw new LeaseLost()
        await conclude(job, error, startedAt)
      } catch (fault) {
        if (fault instanceof LeaseLost) {
          log.warn({ jobId, repository, tag }, 'the lease of a scan was lost; somebody else does it')
        } else {
          // Nothing can be written now: the lease runs out, and the job is taken again.
          log.error({ jobId, repository, tag, err: fault }, 'what became of a scan could not be kept')
        }
      }
    } finally {
      clearInterval(heartbeat)
    }
  }

  function idle(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        idlers.delete(end)
        resolve()
      }
      const timer = setTimeout(end, milliseconds)
      idlers.add(end)
    })
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const job = await store.leaseScanJob(instance, now(), leaseMs)
        if (job !== null) {
          await work(job)
          continue
        }
        const due = await store.nextScanJobDue()
        const wait = due === null ? pollMs : Math.min(Math.max(due - now(), 1), pollMs)
        if (!stopping.signal.aborted) await idle(wait)
      } catch (error) {
        log.error({ err: error }, 'scan jobs cannot be read; trying again')
        if (!stopping.signal.aborted) await idle(pollMs)
      }
    }
  }

  function wake(): void {
    for (const end of [...idlers]) end()
  }

  async function resultOf(job: ScanJob): Promise<ScanNowResult | null> {
    const { repository, tag } = job
    if (job.state === 'done') {
      const artifact = await store.artifact(repository, tag)
      if (artifact === null) return { outcome: 'not-found' }
      return artifact.scan === 'failed'
        ? { outcome: 'failed', error: artifact.scanError ?? 'no layer could be read' }
        : { outcome: 'scanned', artifact }
    }
    // One that a push event asked for as well goes on after this attempt; who waits is told of it all the same.
    const isTriedAgain = job.state === 'queued' && job.attempts > 0 && job.errorCode !== null
    if (job.state !== 'failed' && job.state !== 'cancelled' && !isTriedAgain) return null
    if (job.errorCode === 'not-found') return { outcome: 'not-found' }
    const error = job.error ?? job.note ?? 'the scan ended without a result'
    return { outcome: AWAY.includes(job.errorCode ?? '') ? 'unavailable' : 'failed', error }
  }

  return {
    start() {
      if (workers.length === 0) workers = Array.from({ length: options.concurrency }, run)
    },
    async stop() {
      stopping.abort(new Error('the service is stopping'))
      wake()
      await Promise.all(workers)
    },
    wake,
    async scanNow(repository, tag, signal) {
      const job = { repository, tag, cause: 'admin' as const, digestHint: null, requestedAt: now() }
      const id = await store.transact((tx) => tx.addScanJob(job))
      wake()
      const deadline = now() + SCAN_NOW_MS
      while (now() < deadline && !stopping.signal.aborted && signal?.aborted !== true) {
        const current = await store.scanJob(id)
        const result = current === null ? null : await resultOf(current)
        if (result !== null) return result
        await new Promise((resolve) => setTimeout(resolve, SCAN_NOW_POLL_MS))
      }
      return { outcome: 'unavailable', error: 'the scan goes on; ask for the artifact later' }
    }
  }
}
