/** What others may use of the deployments: the transaction work that applies events. */
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
export { keyOf } from './deployment.ts'
export { isTaskStatus, type TaskObservation } from './task.ts'
