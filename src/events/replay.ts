/** Rebuilds deployment state from the event log. */
import type { Store, Transaction } from '../store/port.ts'
import { toEventRecord } from './inbox.ts'
import { type ReadingOptions, readMessage } from './read-event.ts'

/** Why a replay did not begin. */
export class ReplayRefused extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'ReplayRefused'
  }
}

/** Written while a replay is under way: how far it has come. Until it is gone, the deployment state is not whole. */
export const REPLAY_SETTING = 'replay'
/** Every instance that serves holds a lease whose name begins so. */
export const SERVING_LEASE = 'serving/'
const BATCH = 500

/** A transaction that adds no scan for an image that is known: the artifacts were not emptied. */
function scanningUnknownOnly(tx: Transaction): Transaction {
  return {
    ...tx,
    *addScanJob(job) {
      const artifact = yield* tx.artifact(job.repository, job.tag)
      return artifact === null || artifact.placeholder ? yield* tx.addScanJob(job) : 0
    }
  }
}

/**
 * Empties tasks, deployments, requests, links and what runs, and takes in every event of the log again. Artifacts stay as
 * they are: a push is scanned only where its image is unknown. An event that was rejected before is read anew: an
 * account that the settings know by now brings its events in.
 *
 * It may be broken off and begun again; until it has ended, `serve` refuses the store.
 * @throws ReplayRefused where an instance serves the store, or the log has been trimmed.
 */
export async function replay(
  store: Store,
  options: ReadingOptions & { now: () => number; onProgress?: (sequence: number) => void }
): Promise<{ events: number; changed: number }> {
  // Said before looking who serves: an instance that starts meanwhile sees it, or is seen.
  const brokenOff = await store.setting(REPLAY_SETTING)
  await store.putSetting(REPLAY_SETTING, 'begun')
  const refusal = await refusalOf(store, options.now())
  if (refusal !== null) {
    await store.putSetting(REPLAY_SETTING, brokenOff)
    throw new ReplayRefused(refusal)
  }
  await store.transact((tx) => tx.clearDeployments())
  let sequence = 0
  let events = 0
  let changed = 0
  for (;;) {
    const batch = await store.eventsAfter(sequence, BATCH)
    if (batch.length === 0) break
    const again = batch.map((event) => {
      const message = { messageId: event.messageId, body: event.body, sentAt: event.sentAt }
      const read = readMessage(event.channel, message, options)
      const { outcome, reason } = toEventRecord(event.channel, message, read, event.receivedAt)
      return { ...read, event, outcome, reason, differs: outcome !== event.outcome || reason !== event.reason }
    })
    await store.transact(function* (tx) {
      for (const { event, reading, outcome, reason, differs } of again) {
        if (differs) yield* tx.reviseEvent(event.sequence, outcome, reason)
        if (reading.outcome === 'done') yield* reading.apply(scanningUnknownOnly(tx))
      }
    })
    changed += again.filter(({ differs }) => differs).length
    events += batch.length
    sequence = batch.at(-1)?.sequence ?? sequence
    options.onProgress?.(sequence)
  }
  await store.putSetting(REPLAY_SETTING, null)
  return { events, changed }
}

async function refusalOf(store: Store, now: number): Promise<string | null> {
  const [serving] = await store.leases(SERVING_LEASE, now)
  if (serving !== undefined) return `${store.description} is being served (${serving.owner}): stop that first`
  if (await store.isEventLogWhole()) return null
  return 'the event log has been trimmed: what it no longer holds cannot be rebuilt'
}
