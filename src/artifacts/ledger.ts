/**
 * Keeps what tags name in step with events and scans, inside their transaction: pushes, deletes, placeholders, scanned images.
 * Whatever they change is handed on to the deployments, whose tasks run these images.
 */
import { applyImage } from '../deployments/deployments.ts'
import type { Digest } from '../domain/digest.ts'
import type { ArtifactRecord, ImageRecord, RevisionRecord, TagRecord, Transaction, Work } from '../store/port.ts'

/** The tag of a placeholder: lower than every release. */
export const PLACEHOLDER_TAG = '0.0.0'

interface Tagged {
  readonly repository: string
  readonly tag: string
  readonly at: number
}

const latest = (a: number | null, b: number | null) => (a === null ? b : b === null ? a : Math.max(a, b))

/** When the tag was deleted, or null while it stands: of push and delete the later one wins, of two at once the push. */
function deletedAt(tag: TagRecord): number | null {
  if (tag.deletedAt === null) return null
  return tag.pushedAt !== null && tag.pushedAt >= tag.deletedAt ? null : tag.deletedAt
}

/** Merges a push or a delete into what is known of a tag, and marks its artifact. */
function* noteTag(tx: Transaction, { repository, tag, at }: Tagged, kind: 'pushedAt' | 'deletedAt'): Work<TagRecord> {
  const known = (yield* tx.tag(repository, tag)) ?? { repository, tag, pushedAt: null, deletedAt: null }
  const merged = { ...known, [kind]: latest(known[kind], at) }
  yield* tx.putTag(merged)
  const artifact = yield* tx.artifact(repository, tag)
  if (artifact !== null && artifact.deletedAt !== deletedAt(merged)) {
    yield* tx.putArtifact({ ...artifact, deletedAt: deletedAt(merged) })
  }
  return merged
}

/** Takes in a push: the tag stands from then on, and a scan job will ask the registry what it names. */
export function* recordPush(
  tx: Transaction,
  push: Tagged & { readonly digestHint: string | null; readonly requestedAt: number }
): Work<void> {
  yield* noteTag(tx, push, 'pushedAt')
  const { repository, tag, digestHint, requestedAt } = push
  yield* tx.addScanJob({ repository, tag, cause: 'push', digestHint, requestedAt })
}

/** Takes in a delete: the artifact is marked, leaves the lists, and still names the tasks that run it. */
export function* recordDelete(tx: Transaction, deletion: Tagged): Work<void> {
  yield* noteTag(tx, deletion, 'deletedAt')
}

/** Whether a tag was deleted, by the last word about it. */
export function* isTagDeleted(tx: Transaction, repository: string, tag: string): Work<boolean> {
  const known = yield* tx.tag(repository, tag)
  return known !== null && deletedAt(known) !== null
}

/**
 * Makes a placeholder, so that a service is known before its first image; one that was deleted comes back. Where its tag is
 * taken, nothing changes.
 */
export function* recordPlaceholder(
  tx: Transaction,
  { service, gitUrl, at }: { readonly service: string; readonly gitUrl: string | null; readonly at: number }
): Work<void> {
  const known = yield* tx.artifact(service, PLACEHOLDER_TAG)
  if (known !== null && (!known.placeholder || known.deletedAt === null)) return
  const tag = yield* noteTag(tx, { repository: service, tag: PLACEHOLDER_TAG, at }, 'pushedAt')
  yield* tx.putArtifact({
    repository: service,
    tag: PLACEHOLDER_TAG,
    digest: null,
    manifestDigest: null,
    configDigest: null,
    service,
    gitUrl,
    createdAt: known?.createdAt ?? at,
    resolvedAt: at,
    deletedAt: deletedAt(tag),
    placeholder: true,
    scan: 'complete',
    scanError: null,
    scannerVersion: 0
  })
  yield* applyImage(tx, { repository: service, tag: PLACEHOLDER_TAG, digests: [], service })
}

/** What a registry said that a tag names. */
export interface ResolvedTag {
  readonly repository: string
  readonly tag: string
  /** Milliseconds, taken before the registry was asked. */
  readonly resolvedAt: number
  /** The digest that the tag resolved to, and every digest that may stand for it in an event. */
  readonly digest: Digest
  readonly digests: readonly Digest[]
  readonly service: string | null
  readonly gitUrl: string | null
  /** Whether somebody looked on purpose: then the tag stands, whatever delete came before. A push event's scan only follows its event. */
  readonly isWitness: boolean
}

/**
 * Takes in what a tag names: the artifact is known from now on, however far its layers are read. An older word than
 * the one that is known adds to the history and changes nothing else.
 */
export function* recordResolved(tx: Transaction, resolved: ResolvedTag, image: ImageRecord): Work<void> {
  const { repository, tag, resolvedAt, digest, service, gitUrl } = resolved
  for (const one of new Set(resolved.digests)) {
    const revision: RevisionRecord = { repository, digest: one, tag, service, resolvedAt }
    yield* tx.putRevision(revision)
  }
  if (resolved.isWitness) yield* noteTag(tx, { repository, tag, at: resolvedAt }, 'pushedAt')
  const known = yield* tx.artifact(repository, tag)
  if (known === null || known.placeholder || known.resolvedAt <= resolvedAt) {
    const said = yield* tx.tag(repository, tag)
    yield* tx.putArtifact({
      repository,
      tag,
      digest,
      manifestDigest: image.manifestDigest,
      configDigest: image.configDigest,
      service,
      gitUrl,
      createdAt: known !== null && known.digest === digest ? known.createdAt : resolvedAt,
      resolvedAt,
      deletedAt: said === null ? null : deletedAt(said),
      placeholder: false,
      scan: image.scan,
      scanError: image.scanError,
      scannerVersion: image.scannerVersion
    })
  }
  yield* applyImage(tx, { repository, tag, digests: resolved.digests, service })
}

/** Writes what was read of an image, and how far, into every artifact that names it. */
export function* recordScanned(tx: Transaction, image: ImageRecord): Work<void> {
  yield* tx.putImage(image)
  const { scan, scanError, scannerVersion } = image
  for (const artifact of yield* tx.artifactsOfManifest(image.manifestDigest)) {
    yield* tx.putArtifact({ ...artifact, scan, scanError, scannerVersion } satisfies ArtifactRecord)
  }
}
