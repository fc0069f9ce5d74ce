/**
 * What can go wrong with a request, as status codes and `application/problem+json` documents
 * (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457). No other file knows a status code of an error.
 */
import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { StoreError } from '../store/port.ts'

const STATUS_OF = {
  'malformed-request': 400,
  'invalid-parameter': 400,
  'invalid-body': 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  'no-such-route': 404,
  'request-timeout': 408,
  'body-too-large': 413,
  'unsupported-media-type': 415,
  'expectation-failed': 417,
  'too-many-requests': 429,
  'headers-too-large': 431,
  internal: 500,
  'not-ready': 503,
  'registry-unavailable': 503,
  'store-unavailable': 503
} as const

/** Why a request was refused or failed: stable, for programs to read. */
export type ProblemCode = keyof typeof STATUS_OF

/** What is wrong with one field of a request. */
export interface FieldFault {
  readonly field: string
  readonly message: string
}

/** What a problem may tell besides its sentence. */
export interface ProblemExtras {
  /** What is wrong, field by field. */
  readonly errors?: readonly FieldFault[]
  /** The checks of `/health/ready`. */
  readonly checks?: readonly { readonly name: string; readonly ok: boolean; readonly reason: string | null }[]
}

interface ProblemOptions extends ProblemExtras {
  readonly headers?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

/** A request that is refused or failed. The message is for whoever sent it: no secret, and nothing of our inside. */
export class Problem extends Error {
  override readonly name = 'Problem'
  readonly code: ProblemCode
  readonly headers: Readonly<Record<string, string>>
  readonly extras: ProblemExtras

  constructor(code: ProblemCode, message: string, { headers = {}, cause, ...extras }: ProblemOptions = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.headers = headers
    this.extras = extras
  }
}

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

/** The document that every error has. `message` is `detail` again, for clients that read only that. */
export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(Object.keys(STATUS_OF) as [ProblemCode, ...ProblemCode[]]),
    message: z.string(),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
    checks: z.array(z.object({ name: z.string(), ok: z.boolean(), reason: z.string().nullable() })).optional()
  })
  .meta({ id: 'Problem', description: 'An error, as RFC 9457 has it.' })

/** How long a client shall wait before it asks again, in seconds, where only time helps. */
const RETRY_AFTER_SECONDS = 5

const RETRY_LATER: Readonly<Record<string, string>> = { 'retry-after': String(RETRY_AFTER_SECONDS) }

/** The status of a problem, its headers and its document. */
export function problemDocument(problem: Problem) {
  const status = STATUS_OF[problem.code]
  const headers = {
    ...(status === 503 ? RETRY_LATER : {}),
    ...problem.headers,
    // An error may be over before the next request.
    'cache-control': 'no-store',
    'content-type': PROBLEM_TYPE
  }
  const body = {
    // No type of its own: `code` says which one it is (RFC 9457, section 4.2.1).
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: problem.message,
    code: problem.code,
    message: problem.message,
    ...problem.extras
  }
  return { status, headers, body }
}

/** What fastify and its plugins throw, by the status they give it. */
const FRAMEWORK_CODES: Readonly<Record<number, ProblemCode>> = {
  404: 'no-such-route',
  408: 'request-timeout',
  413: 'body-too-large',
  415: 'unsupported-media-type',
  429: 'too-many-requests',
  431: 'headers-too-large'
}

/** The sentences of the framework's own refusals: theirs may quote what was sent. */
const FRAMEWORK_SENTENCES: Partial<Record<ProblemCode, string>> = {
  'no-such-route': 'There is no such route.',
  'request-timeout': 'The request took too long to arrive.',
  'body-too-large': 'The body is larger than 1 MiB.',
  'unsupported-media-type': 'The body must be application/json.',
  'too-many-requests': 'Too many requests from this address; try again a little later.',
  'headers-too-large': 'The headers are too large.'
}

const FRAMEWORK_SENTENCES_BY_ERROR: Readonly<Record<string, string>> = {
  FST_ERR_BAD_URL: 'The path is not correctly percent-encoded.',
  FST_ERR_CTP_INVALID_JSON_BODY: 'The body is not JSON.',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'The body is empty, and JSON was announced.',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body is not as long as Content-Length says.'
}

function invalidFields(error: FastifyError): Problem {
  const faults = (error.validation ?? []).map(({ instancePath, message }) => ({
    field: instancePath.slice(1).replaceAll('/', '.'),
    message: message ?? 'is not valid'
  }))
  const sentence = faults.map(({ field, message }) => (field === '' ? message : `${field} ${message}`)).join('; ')
  const code = error.validationContext === 'body' ? 'invalid-body' : 'invalid-parameter'
  return new Problem(code, `${sentence}.`, { errors: faults })
}

/** The problem that an error is. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (error instanceof StoreError) {
    const sentence = {
      unavailable: 'The store cannot be reached; try again a little later.',
      busy: 'The store is busy; try again a little later.',
      full: 'The store has no room left.',
      'too-new': 'The store was written by a newer version of this service.'
    }[error.code]
    return new Problem('store-unavailable', sentence, { cause: error })
  }
  if (hasZodFastifySchemaValidationErrors(error)) return invalidFields(error as unknown as FastifyError)
  const { statusCode = 500, code = '' } = error instanceof Error ? (error as Partial<FastifyError>) : {}
  if (statusCode < 400 || statusCode > 499) {
    return new Problem('internal', 'The service failed; the log says why.', { cause: error })
  }
  const problem = FRAMEWORK_CODES[statusCode] ?? 'malformed-request'
  const sentence = FRAMEWORK_SENTENCES_BY_ERROR[code] ?? FRAMEWORK_SENTENCES[problem] ?? 'The request is malformed.'
  return new Problem(problem, sentence, { cause: error })
}

/** Answers a request with the problem that an error is, and logs what is our own failure: once, with the request's id. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = problemOf(error)
  const { status, headers, body } = problemDocument(problem)
  if (status >= 500 && problem.code !== 'not-ready') request.log.error({ err: error }, 'a request failed')
  // A precondition holds for a 2xx only (RFC 9110, section 13.2.1), and the plugin that answers 304 looks at no status.
  delete request.headers['if-none-match']
  // The hook that sets it for others does not run for a request that fastify itself refuses.
  reply.header('x-request-id', request.id)
  return reply.code(status).headers(headers).serializer(JSON.stringify).send(body)
}
