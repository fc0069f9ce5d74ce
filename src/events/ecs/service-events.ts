/** ECS's events about services and their deployments, and the deployment pipeline's own. */
import { applyLink, applyRollout, applyServiceAction } from '../../deployments/deployments.ts'
import type { Environments } from '../../domain/environment.ts'
import { type Event, faults, parseTime } from '../envelope.ts'
import { done, type Reading, rejected } from '../reading.ts'
import { deploymentStateChangeSchema, pipelineDetailSchema, pipelineSchema, serviceActionSchema } from './schema.ts'

type Account = { readonly account: string } | { readonly fault: Reading }

function accountOf(event: Event, environments: Environments): Account {
  const { account } = event
  if (account === null) return { fault: rejected('the event names no account') }
  if (environments.ofAccount(account) === null) {
    return { fault: rejected(`unknown account ${account}: it is not in ENVIRONMENTS`) }
  }
  return { account }
}

/** The ECS service's name in its ARN, in the long form (`service/CLUSTER/NAME`) or the old one (`service/NAME`). */
function serviceOf(resources: readonly string[]): string | null {
  const match = /:service\/(?:[^/]+\/)?([^/]+)$/.exec(resources[0] ?? '')
  return match?.[1] ?? null
}

/** ECS deployment ids carry this prefix wherever tasks name them. */
const withPrefix = (deploymentId: string) =>
  deploymentId.startsWith('ecs-svc/') ? deploymentId : `ecs-svc/${deploymentId}`

/** Reads an ECS Deployment State Change; where it names no deployment, it is a note on its service. */
export function readDeploymentStateChange(event: Event, environments: Environments): Reading {
  const parsed = deploymentStateChangeSchema.safeParse(event.detail)
  if (!parsed.success) return rejected(`not a deployment state change: ${faults(parsed.error)}`)
  const { eventName, eventType, deploymentId, updatedAt, reason } = parsed.data
  const found = accountOf(event, environments)
  if ('fault' in found) return found.fault
  const { account } = found
  const at = parseTime(updatedAt) ?? event.time
  if (deploymentId !== null) {
    const ecsDeploymentId = withPrefix(deploymentId)
    return done((tx) => applyRollout(tx, { account, ecsDeploymentId, eventName, eventType, reason, at }))
  }
  const ecsService = serviceOf(event.resources)
  if (ecsService === null) return rejected('the event names neither a deployment nor a service')
  return done((tx) => applyServiceAction(tx, { key: event.key, account, ecsService, eventName, eventType, reason, at }))
}

/** Reads an ECS Service Action: a note on its service. */
export function readServiceAction(event: Event, environments: Environments): Reading {
  const parsed = serviceActionSchema.safeParse(event.detail)
  if (!parsed.success) return rejected(`not a service action: ${faults(parsed.error)}`)
  const { eventName, eventType, createdAt, reason } = parsed.data
  const found = accountOf(event, environments)
  if ('fault' in found) return found.fault
  const { account } = found
  const ecsService = serviceOf(event.resources)
  if (ecsService === null) return rejected('the event names no service')
  const at = parseTime(createdAt) ?? event.time
  return done((tx) => applyServiceAction(tx, { key: event.key, account, ecsService, eventName, eventType, reason, at }))
}

/** Reads the pipeline's event: it links a portal deployment to the ECS deployment that it became. */
export function readPipelineEvent(event: Event, environments: Environments): Reading {
  const parsed = pipelineSchema.safeParse(event.root)
  if (!parsed.success) return rejected(`not a pipeline event: ${faults(parsed.error)}`)
  const detail = pipelineDetailSchema.safeParse(event.detail)
  if (!detail.success || detail.data.deploymentId === null) {
    return rejected('the event names no ECS deployment: detail.deploymentId is missing')
  }
  const found = accountOf(event, environments)
  if ('fault' in found) return found.fault
  const { cdp_deployment_id: portalId, deployed_by: by } = parsed.data
  const link = {
    account: found.account,
    ecsDeploymentId: withPrefix(detail.data.deploymentId),
    portalId,
    user: by?.displayName ?? null,
    userId: by?.userId ?? null,
    at: event.time
  }
  return done((tx) => applyLink(tx, link))
}
