import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { isDeploymentId, MAX_DEPLOYMENT_ID_LENGTH, requestView } from '../../deployments/deployments.ts'
import { type App, answers, type HttpDeps } from '../app.ts'
import { Problem } from '../errors.ts'
import {
  atMost,
  filterParameter,
  nameInPath,
  offsetParameter,
  pageParameters,
  requiredText,
  timeParameter
} from '../parameters.ts'

const MAX_SERVICE_LENGTH = 255
/** The longest tag there is. */
const MAX_VERSION_LENGTH = 128
const MAX_USER_LENGTH = 256
const MAX_INSTANCES = 100_000

const deploymentFields = {
  deploymentId: z.string(),
  environment: z.string(),
  service: z.string(),
  version: z.string(),
  user: z.string(),
  userId: z.string(),
  deployedAt: z.iso.datetime(),
  status: z.string(),
  dockerImage: z.string(),
  taskId: z.string().nullable(),
  ecsSvcDeploymentId: z.string().nullable(),
  cpu: z.string().nullable(),
  memory: z.string().nullable(),
  instanceTaskId: z.string().nullable(),
  instanceCount: z.int().nullable(),
  stoppedAt: z.iso.datetime().nullable(),
  stopCode: z.string().nullable(),
  reason: z.string().nullable(),
  exitCode: z.int().nullable()
}

const deploymentSchema = z.object(deploymentFields).meta({ id: 'Deployment' })

const squashedSchema = z
  .object({ ...deploymentFields, count: z.int(), requestedCount: z.int().nullable() })
  .meta({ id: 'SquashedDeployment' })

const detailSchema = z
  .object({
    ...deploymentFields,
    instances: z.array(deploymentSchema),
    history: z.array(
      z.object({
        at: z.iso.datetime(),
        event: z.string(),
        reason: z.string().nullable(),
        instanceTaskId: z.string().nullable()
      })
    )
  })
  .meta({ id: 'DeploymentDetail' })

const runningSchema = z
  .object({
    ...deploymentFields,
    runningCount: z.int(),
    versions: z.array(z.object({ version: z.string(), count: z.int() })).optional()
  })
  .meta({ id: 'Running' })

const pageOf = <T extends z.ZodType>(record: T) =>
  z.object({
    deployments: z.array(record),
    page: z.int().min(1),
    pageSize: z.int().min(1),
    totalPages: z.int().min(1)
  })

const listParameters = z.object({
  environment: filterParameter('Only those of this environment.'),
  ...pageParameters,
  offset: offsetParameter
})

/** An empty id is none; of others see `isDeploymentId`. */
const deploymentIdSchema = z
  .string('must be a text')
  .check(atMost(MAX_DEPLOYMENT_ID_LENGTH))
  .refine(
    (id) => id === '' || id.length > MAX_DEPLOYMENT_ID_LENGTH || isDeploymentId(id),
    'must be one segment of a path: letters, digits and . _ ~ -'
  )

const userText = z.string('must be a text').check(atMost(MAX_USER_LENGTH)).nullish()

const INSTANCES = 'must be a whole number, 0 or more'

const requestSchema = z.object(
  {
    service: requiredText(MAX_SERVICE_LENGTH),
    version: requiredText(MAX_VERSION_LENGTH),
    environment: requiredText(MAX_SERVICE_LENGTH),
    deploymentId: deploymentIdSchema.nullish(),
    user: z.object({ id: userText, displayName: userText }, 'must be an object').nullish(),
    instanceCount: z.int(INSTANCES).min(0, INSTANCES).max(MAX_INSTANCES, `must be at most ${MAX_INSTANCES}`).nullish()
  },
  'The body must be a JSON object'
)

export function deploymentRoutes(app: App, { deployments, environments, events, now }: HttpDeps): void {
  app.get(
    '/deployments',
    {
      schema: {
        summary: 'One record per task, newest first, and requests that have no task yet',
        tags: ['deployments'],
        querystring: listParameters,
        response: answers({ 200: pageOf(deploymentSchema) })
      }
    },
    ({ query: { environment, ...page } }) => deployments.page({ environment }, page)
  )

  app.get(
    '/squashed-deployments',
    {
      schema: {
        summary: 'One record per deployment and status, newest first',
        tags: ['deployments'],
        querystring: listParameters,
        response: answers({ 200: pageOf(squashedSchema) })
      }
    },
    ({ query: { environment, ...page } }) => deployments.squashedPage({ environment }, page)
  )

  app.get(
    '/deployments/:deploymentId',
    {
      schema: {
        summary: 'One deployment with its tasks and its history, by any of its ids',
        tags: ['deployments'],
        params: z.object({ deploymentId: nameInPath }),
        response: answers({ 200: detailSchema })
      }
    },
    async ({ params: { deploymentId } }) => {
      const deployment = await deployments.named(deploymentId)
      if (deployment === null) throw new Problem('not-found', `${deploymentId} was not found`)
      return deployment
    }
  )

  app.post(
    '/deployments',
    {
      schema: {
        summary: 'Ask for a deployment',
        tags: ['deployments'],
        body: requestSchema,
        response: answers({ 200: deploymentSchema })
      }
    },
    async ({ body: { service, version, environment, deploymentId, user, instanceCount } }) => {
      if (!environments.names.includes(environment)) {
        const message = `is not known: ${environment}`
        throw new Problem('invalid-body', `environment ${message}.`, { errors: [{ field: 'environment', message }] })
      }
      const request = await events.submitRequest({
        deploymentId: deploymentId || randomUUID(),
        environment,
        requestedService: service,
        version,
        user: user?.displayName || null,
        userId: user?.id || null,
        instanceCount: instanceCount ?? null,
        requestedAt: now()
      })
      return requestView(request)
    }
  )

  const runningParameters = z.object({
    at: timeParameter.meta({ description: 'As it was at this time: ISO 8601 with its zone. Now, where left out.' })
  })

  app.get(
    '/whats-running-where',
    {
      schema: {
        summary: 'What runs where: one record per service and environment',
        tags: ['deployments'],
        querystring: runningParameters,
        response: answers({ 200: z.array(runningSchema) })
      }
    },
    ({ query }) => deployments.running({ at: query.at })
  )

  app.get(
    '/whats-running-where/:service',
    {
      schema: {
        summary: 'Where one service runs',
        tags: ['deployments'],
        params: z.object({ service: nameInPath }),
        querystring: runningParameters,
        response: answers({ 200: z.array(runningSchema) })
      }
    },
    ({ params: { service }, query }) => deployments.running({ service, at: query.at })
  )
}
