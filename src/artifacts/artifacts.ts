/** What others may use of the artifacts. */
export {
  isTagDeleted,
  PLACEHOLDER_TAG,
  recordDelete,
  recordPlaceholder,
  recordPush,
  recordResolved,
  recordScanned,
  type ResolvedTag
} from './ledger.ts'
export { type ArtifactQueries, createArtifactQueries, type TeamLookup } from './queries.ts'
export type { ArtifactView, FileView, ServiceView, TeamView } from './record.ts'
