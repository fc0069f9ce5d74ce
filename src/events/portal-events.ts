/**
 * What clients ask of this service that changes deployment state: it enters the log as an event of its own source, so that
 * replaying the log rebuilds it.
 */
import { z } from 'zod'
import { recordPlaceholder } from '../artifacts/artifacts.ts'
import { applyRequest, type NewRequest } from '../deployments/deployments.ts'
import { type Event, faults, type QueueMessage } from './envelope.ts'
import { done, type Reading, rejected } from './reading.ts'

export const PORTAL_SOURCE = 'cdp.portal'
const DEPLOYMENT_REQUESTED = 'Deployment Requested'
const PLACEHOLDER_REQUESTED = 'Artifact Placeholder Requested'

const requestSchema = z.object({
  deploymentId: z.string(),
  environment: z.string(),
  requestedService: z.string(),
  version: z.string(),
  user: z.string().nullable(),
  userId: z.string().nullable(),
  instanceCount: z.number().nullable(),
  requestedAt: z.number()
})

const placeholderSchema = z.object({ service: z.string(), gitUrl: z.string().nullable() })

function message(detailType: string, id: string, at: number, detail: object): QueueMessage {
  const time = new Date(at).toISOString()
  return {
    messageId: id,
    sentAt: at,
    body: JSON.stringify({ id, 'detail-type': detailType, source: PORTAL_SOURCE, time, detail })
  }
}

/** A request for a deployment as an event. */
export function deploymentRequested(request: NewRequest): QueueMessage {
  return message(DEPLOYMENT_REQUESTED, request.deploymentId, request.requestedAt, request)
}

/** A wish for a placeholder as an event. */
export function placeholderRequested(service: string, gitUrl: string | null, at: number): QueueMessage {
  return message(PLACEHOLDER_REQUESTED, `${service}/0.0.0`, at, { service, gitUrl })
}

/** Reads an event of the service's own. */
export function readPortalEvent(event: Event): Reading {
  switch (event.detailType) {
    case DEPLOYMENT_REQUESTED: {
      const parsed = requestSchema.safeParse(event.detail)
      if (!parsed.success) return rejected(`not a request: ${faults(parsed.error)}`)
      return done(function* (tx) {
        yield* applyRequest(tx, parsed.data)
      })
    }
    case PLACEHOLDER_REQUESTED: {
      const parsed = placeholderSchema.safeParse(event.detail)
      if (!parsed.success) return rejected(`not a placeholder: ${faults(parsed.error)}`)
      return done((tx) => recordPlaceholder(tx, { ...parsed.data, at: event.time }))
    }
    default:
      return rejected(`not an event of this service: ${event.detailType ?? 'no detail-type'}`)
  }
}
