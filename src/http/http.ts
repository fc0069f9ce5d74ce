/** The HTTP API: one fastify app with its routes, its errors and its description. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import compress from '@fastify/compress'
import etag from '@fastify/etag'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import { collectDefaultMetrics, Histogram } from 'prom-client'
import { needOf } from '../access/access.ts'
import type { App, HttpDeps } from './app.ts'
import { Problem, sendProblem } from './errors.ts'
import { openapiRoutes, registerOpenapi } from './openapi.ts'
import { answerOddRequests, answerParserError } from './parser-errors.ts'
import { adminRoutes } from './routes/admin.ts'
import { artifactRoutes } from './routes/artifacts.ts'
import { deployableRoutes } from './routes/deployables.ts'
import { deploymentRoutes } from './routes/deployments.ts'
import { eventRoutes } from './routes/events.ts'
import { fileRoutes } from './routes/files.ts'
import { healthRoutes } from './routes/health.ts'
import { landingRoutes } from './routes/landing.ts'
import { serviceRoutes } from './routes/services.ts'
import { isQueryWellFormed, rewriteTarget } from './url.ts'

export type { App, HttpDeps, ReadinessCheck } from './app.ts'

/** The largest body that is read. Ours are a few hundred bytes. */
export const BODY_LIMIT_BYTES = 1024 * 1024
/** One front end speaks for all users from one address, several lists every three seconds. */
export const REQUESTS_PER_MINUTE = 6_000
/** How long a request may take to arrive: a client that sends byte by byte holds its connection no longer. */
export const REQUEST_TIMEOUT_MS = 30_000
/** A line of a request is shorter than this in Node, so that the routes' own limits decide, and name what is too long. */
const MAX_PARAMETER_LENGTH = 16_384
/** Shorter answers are not worth compressing. */
const COMPRESSION_THRESHOLD_BYTES = 1_024

/** A client's own id for a request, where it is one that can be logged and sent back as it is. */
const REQUEST_ID = /^[A-Za-z0-9._:/+=@-]{1,128}$/

function requestIdOf(request: Pick<IncomingMessage, 'headers'>): string {
  const sent = request.headers['x-request-id']
  return typeof sent === 'string' && REQUEST_ID.test(sent) ? sent : randomUUID()
}

/** Adds the hooks that see every request, those that no route answers too. */
function addHooks(app: App, { access, metrics }: HttpDeps): void {
  collectDefaultMetrics({ register: metrics })
  const durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'How long requests took to answer, by route template',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [metrics]
  })

  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    // Only what reads may be answered with 304 (RFC 9110, section 13.1.2); the plugin does not ask.
    if (request.method !== 'GET' && request.method !== 'HEAD') delete request.headers['if-none-match']
    if (request.raw.httpVersion === '1.1' && request.headers.host === undefined) {
      throw new Problem('malformed-request', 'The Host header is missing.')
    }
    if (!isQueryWellFormed(request.url)) {
      throw new Problem('malformed-request', 'The query is not correctly percent-encoded.')
    }
    if (request.is404) return
    const need = needOf(request.method, request.routeOptions.url ?? '')
    const verdict = access.admit(need, request.headers.authorization)
    if (verdict.admitted) return
    const headers: Record<string, string> = verdict.challenge === null ? {} : { 'www-authenticate': verdict.challenge }
    throw new Problem(verdict.code, verdict.reason, { headers })
  })

  app.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions, log } = request
    // Addresses that no route answers are without number; a label each would fill the memory.
    const route = routeOptions.url ?? 'none'
    durations.observe({ method, route, status: reply.statusCode }, reply.elapsedTime / 1000)
    log.debug({ method, route, status: reply.statusCode, milliseconds: reply.elapsedTime }, 'answered')
  })
}

/** Headers and bodies as browsers and caches shall have them. */
function registerPlugins(app: App): void {
  app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"]
      }
    },
    // Whether there is TLS is the matter of whatever stands before this service.
    strictTransportSecurity: false
  })
  // Weak: one tag for an answer in whatever encoding. Before compression, which has to come last.
  app.register(etag, { weak: true })
  app.register(compress, { threshold: COMPRESSION_THRESHOLD_BYTES, globalDecompression: false })
  app.register(rateLimit, { max: REQUESTS_PER_MINUTE, timeWindow: '1 minute' })
}

/**
 * Builds the app; it listens nowhere yet. Closing it waits for the requests in hand.
 * @throws where a route's schema or a plugin is wrong: at `ready()`, `listen()` or the first `inject()`.
 */
export function createHttp(deps: HttpDeps): App {
  const app = Fastify({
    loggerInstance: deps.log as FastifyBaseLogger,
    // A front end asks every three seconds: what is answered well is told at the level `debug`, by the hook below.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // While it closes, requests on open connections are still answered, and the connection ended with the answer.
    return503OnClosing: false,
    // Node answers a missing Host with an empty body; the hook below answers it with one.
    http: { requireHostHeader: false },
    routerOptions: { caseSensitive: false, ignoreTrailingSlash: true, maxParamLength: MAX_PARAMETER_LENGTH },
    rewriteUrl: (request) => rewriteTarget(request.url ?? '/'),
    genReqId: requestIdOf,
    clientErrorHandler: answerParserError,
    frameworkErrors: (error, request, reply) => {
      void sendProblem(error, request, reply)
    }
  }).withTypeProvider<ZodTypeProvider>()

  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler(sendProblem)
  app.setNotFoundHandler(({ method }) => {
    throw new Problem('no-such-route', `There is no such route for ${method}.`)
  })
  // `__proto__` in a body is dropped like every other field that nobody knows; nothing at all is no body.
  const parseJson = app.getDefaultJsonParser('remove', 'remove')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else void parseJson(request, String(body), done)
  })
  answerOddRequests(app.server)
  addHooks(app, deps)

  registerPlugins(app)
  registerOpenapi(app)
  app.register(async (scope) => {
    const routes = scope as App
    for (const add of [
      landingRoutes,
      serviceRoutes,
      artifactRoutes,
      fileRoutes,
      deployableRoutes,
      deploymentRoutes,
      eventRoutes,
      adminRoutes,
      healthRoutes,
      openapiRoutes
    ]) {
      add(routes, deps)
    }
  })
  return app
}
