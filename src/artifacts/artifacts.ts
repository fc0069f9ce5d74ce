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
