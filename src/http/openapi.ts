/** The description of the API that `/openapi.json` serves and `/swagger` shows. */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { needOf } from '../access/access.ts'
import { type App, answers } from './app.ts'

const DESCRIPTION = `What is running where, what can be deployed, and what is inside it.

Every path is served below \`/cdp-portal-backend\` as well. Case and a trailing slash do not matter in the route itself.`

/** Swagger's page sets styles on its elements, and shows images of its own as data; nothing comes from elsewhere. */
const SWAGGER_POLICY = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self' 'unsafe-inline'",
  'img-src': "'self' data:",
  'font-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'"
}

const SWAGGER_PATH = {
  get: {
    summary: 'This description in a browser',
    tags: ['description'],
    responses: { '200': { description: 'A page.', content: { 'text/html': { schema: { type: 'string' } } } } }
  }
}

type Route = Parameters<typeof jsonSchemaTransform>[0]

/** Says of a route that asks for a token that it does, so that Swagger's page sends the one that was entered. */
function transformRoute(document: Route): ReturnType<typeof jsonSchemaTransform> {
  const transformed = jsonSchemaTransform(document)
  const { method, url } = document.route
  const asks = [method].flat().some((one) => needOf(one, url) !== 'nothing')
  return asks ? { ...transformed, schema: { ...transformed.schema, security: [{ bearer: [] }] } } : transformed
}

type Transformed = Parameters<typeof jsonSchemaTransformObject>[0]

/** The components without the twins that the transform makes for requests, which describe theirs in place. */
function transformObject(document: Transformed) {
  const transformed = jsonSchemaTransformObject(document) as {
    components?: { schemas?: Record<string, unknown> }
    paths?: Record<string, unknown>
  }
  const schemas = Object.entries(transformed.components?.schemas ?? {}).filter(([name]) => !name.endsWith('Input'))
  return {
    ...transformed,
    components: { ...transformed.components, schemas: Object.fromEntries(schemas) },
    paths: { ...transformed.paths, '/swagger': SWAGGER_PATH }
  } as ReturnType<typeof jsonSchemaTransformObject>
}

/** Has to be registered before the routes: it learns of each as it is added. */
export function registerOpenapi(app: App): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'CDP Portal Backend', version: '1.0.0', description: DESCRIPTION },
      servers: [{ url: '/' }, { url: '/cdp-portal-backend' }],
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } }
    },
    transform: transformRoute,
    transformObject
  })
  // The index refers to its files relative to itself, so that it works behind a gateway that knows the prefix only.
  app.register(swaggerUi, { routePrefix: '/swagger', indexPrefix: '.', staticCSP: SWAGGER_POLICY })
}

export function openapiRoutes(app: App): void {
  app.get(
    '/openapi.json',
    {
      schema: {
        summary: 'This description',
        tags: ['description'],
        response: answers({ 200: z.looseObject({ openapi: z.string(), paths: z.looseObject({}) }) })
      }
    },
    async () => app.swagger() as { openapi: string; paths: Record<string, unknown> }
  )
}
