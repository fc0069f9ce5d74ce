/** What others may use of the artifacts. */
export {
  isTagDeleted,
  PLACEHOLDER_TAG,
  type ResolvedTag,
  recordDelete,
  recordPlaceholder,
  recordPush,
  recordResolved,
  recordScanned
} from './ledger.ts'
export { type ArtifactQueries, createArtifactQueries, type TeamLookup } from './queries.ts'
export type { ArtifactView, FileView, ServiceView, TeamView } from './record.ts'
