import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault
} from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import { z } from 'zod'
import type { Access } from '../access/access.ts'
import type { ArtifactQueries } from '../artifacts/artifacts.ts'
import type { DeploymentQueries, NewRequest } from '../deployments/deployments.ts'
import type { Environments } from '../domain/environment.ts'
import type { Scanner } from '../scan/scan.ts'
import type { ArtifactRecord, RequestRecord, Store } from '../store/port.ts'
import { problemSchema } from './errors.ts'

/** Whether one thing that the service needs is there. */
export interface ReadinessCheck {
  readonly name: string
  readonly ok: boolean
  /** Why it is not; for people. */
  readonly reason?: string
}

export interface HttpDeps {
  /** For the event log: the other parts have queries of their own. */
  readonly store: Store
  readonly environments: Environments
  readonly access: Access
  readonly deployments: DeploymentQueries
  readonly artifacts: ArtifactQueries
  readonly log: Logger
  /** What `/metrics` shows; the routes' durations and the process's own figures are added here. */
  readonly metrics: Registry
  readonly events: {
    /** Keeps a request. The same `deploymentId` again changes nothing and answers what was kept first. @throws StoreError */
    submitRequest(request: NewRequest): Promise<RequestRecord>
    /** Makes a placeholder where there is none, and answers what is there. @throws StoreError */
    submitPlaceholder(placeholder: {
      readonly service: string
      readonly gitUrl: string | null
    }): Promise<ArtifactRecord>
  }
  readonly scan: Pick<Scanner, 'scanNow'>
  /** Looked at for each `GET /health/ready`. */
  readiness(): Promise<readonly ReadinessCheck[]>
  /** The time in milliseconds. */
  now(): number
}

/** The app as routes see it: their schemas are zod's. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression<RawServerDefault>,
  RawReplyDefaultExpression<RawServerDefault>,
  FastifyBaseLogger,
  ZodTypeProvider
>

const problemContent = { 'application/problem+json': { schema: problemSchema } }

/** The answers of a route: its own, and the errors that every route may give. */
export function answers<const T extends Record<number, unknown>>(own: T) {
  return {
    ...own,
    '4xx': { description: 'The request was refused.', content: problemContent },
    '5xx': { description: 'The service failed.', content: problemContent }
  }
}

/** The answer of a route that is no JSON: a text of that type. */
export function textAnswer(description: string, ...types: string[]) {
  return { description, content: Object.fromEntries(types.map((type) => [type, { schema: z.string() }])) }
}
