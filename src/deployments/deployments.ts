/** What others may use of the deployments: the transaction work that applies events, and what can be asked. */

export { isDeploymentId, keyOf, MAX_DEPLOYMENT_ID_LENGTH } from './deployment.ts'
export type { HistoryEntry } from './history.ts'
export {
  applyImage,
  applyLink,
  applyRequest,
  applyRollout,
  applyServiceAction,
  applyTask,
  type ChangedImage,
  type NewRequest
} from './ledger.ts'
export {
  createDeploymentQueries,
  type DeploymentDetail,
  type DeploymentPage,
  type DeploymentQueries,
  INSTANCES_SHOWN
} from './queries.ts'
export { type DeploymentView, type RunningView, requestView, type SquashedView } from './record.ts'
export { isTaskStatus, type TaskObservation } from './task.ts'
