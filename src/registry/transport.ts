import type { IncomingHttpHeaders } from 'node:http'
import { type Agent, type Dispatcher, errors, request } from 'undici'
import type { Clock } from './deadline.ts'
import { isPassing, RegistryError, type RegistryErrorCode } from './errors.ts'
import type { RegistryLimits } from './limits.ts'
import { errorAnswer } from './schema.ts'

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
const TIMEOUTS: readonly string[] = ['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']
const ERROR_BODY_BYTES = 16 * 1024

export interface Question {
  readonly url: URL
  /** What is asked for, for messages: `localhost:5000/service:1.2.3`. Never the URL: its query may be a credential. */
  readonly name: string
  readonly headers?: Readonly<Record<string, string>>
  /** Sent to the URL's own origin only. */
  readonly authorization?: string | null
  /** How many redirects are followed; `limits.redirects` unless set. */
  readonly redirects?: number
  readonly signal: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Dispatcher.ResponseData['body']
  /** Whether the answer comes from another origin than the one that was asked. */
  readonly isForeign: boolean
}

/** HTTP GET with everything that is the same for all: redirects, idle limits, bounded bodies, waiting between tries. */
export interface Transport {
  /**
   * One request, redirects followed. Answers of any other status are the caller's, who must read or `discard` the body.
   * @throws RegistryError `unavailable`, `timeout`, or `invalid` for a redirect that is not followed.
   */
  send(question: Question): Promise<Answer>
  /** A body as a whole. @throws RegistryError `too-large` above `limit` bytes, `unavailable` or `timeout`. */
  readBody(answer: Answer, limit: number, question: Question): Promise<Uint8Array>
  /** Ends an answer whose body is not wanted. */
  discard(answer: Answer): Promise<void>
  /** The error that an answer's status stands for; reads the answer. */
  failure(answer: Answer, question: Question): Promise<RegistryError>
  /** The error behind a broken connection. */
  broken(error: unknown, question: Question): unknown
  /**
   * Waits before the next try, after `failures` of them in a row: twice as long each time, with jitter so that many
   * clients do not come back together, and at least as long as the server asked.
   * @throws the error itself where no further try is worth it; the signal's reason where that is what ended the last one.
   */
  patience(error: unknown, failures: number, signal: AbortSignal): Promise<void>
}

export function createTransport(agent: Agent, limits: RegistryLimits, clock: Clock): Transport {
  async function send(question: Question): Promise<Answer> {
    const { name } = question
    const origin = question.url.origin
    const headers: Record<string, string> = { 'accept-encoding': 'identity', ...question.headers }
    if (question.authorization) headers.authorization = question.authorization
    let url = question.url
    for (let left = question.redirects ?? limits.redirects; ; left--) {
      const answer = await sendOnce(url, headers, question)
      if (!REDIRECTS.has(answer.status)) return answer
      await discard(answer)
      if (left === 0) throw new RegistryError('invalid', `${name} is redirected more often than is followed`)
      const next = redirectTarget(answer.headers.location, url, name)
      // For good, also when a later redirect leads back: the one that redirects must not steer where we sign in.
      if (next.origin !== origin) delete headers.authorization
      url = next
    }
  }

  async function sendOnce(url: URL, headers: Record<string, string>, question: Question): Promise<Answer> {
    question.signal.throwIfAborted()
    try {
      const {
        statusCode,
        headers: answered,
        body
      } = await request(url, {
        dispatcher: agent,
        method: 'GET',
        headers,
        signal: question.signal,
        headersTimeout: limits.idleMs,
        bodyTimeout: limits.idleMs
      })
      // A body that nobody reads any more still reports its end as an event, which must not end the process.
      body.on('error', () => {})
      return { status: statusCode, headers: answered, body, isForeign: url.origin !== question.url.origin }
    } catch (error) {
      throw broken(error, question)
    }
  }

  async function readBody(answer: Answer, limit: number, question: Question): Promise<Uint8Array> {
    const tooLarge = () => new RegistryError('too-large', `the answer for ${question.name} is above ${limit} bytes`)
    if (Number(answer.headers['content-length'] ?? 0) > limit) {
      answer.body.destroy()
      throw tooLarge()
    }
    const chunks: Uint8Array[] = []
    let length = 0
    try {
      for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
        length += chunk.length
        if (length > limit) throw tooLarge()
        chunks.push(chunk)
      }
    } catch (error) {
      throw broken(error, question)
    }
    return Buffer.concat(chunks, length)
  }

  async function discard(answer: Answer): Promise<void> {
    try {
      await answer.body.dump({ limit: ERROR_BODY_BYTES })
    } catch {
      // It is not wanted, so how it ends does not matter.
    }
  }

  async function failure(answer: Answer, question: Question): Promise<RegistryError> {
    const { name } = question
    const code = codeOf(answer.status)
    const said = await errorCode(answer, question)
    const who = answer.isForeign ? 'the storage that the registry redirects to' : 'the registry'
    const message = {
      'not-found': `${name} was not found`,
      unauthorized: `${who} refuses access to ${name}`,
      throttled: `${who} asks to slow down, for ${name}`,
      unavailable: `${who} could not answer for ${name}`,
      invalid: `${who} gave an answer for ${name} that is not understood`
    }[code]
    return new RegistryError(code, `${message} (status ${answer.status}${said && `, ${said}`})`, {
      retryAfterMs: retryAfter(answer.headers['retry-after'], clock.now())
    })
  }

  async function errorCode(answer: Answer, question: Question): Promise<string> {
    try {
      const body = await readBody(answer, ERROR_BODY_BYTES, question)
      const parsed = errorAnswer.safeParse(JSON.parse(new TextDecoder().decode(body)))
      return parsed.data?.errors[0]?.code ?? ''
    } catch {
      // The status says enough; proxies answer with pages of their own.
      return ''
    }
  }

  function broken(error: unknown, question: Question): unknown {
    if (error instanceof RegistryError) return error
    const { host } = question.url
    if (error instanceof errors.UndiciError && TIMEOUTS.includes(error.code)) {
      return new RegistryError('timeout', `${host} is silent, for ${question.name}`, { cause: error })
    }
    return new RegistryError('unavailable', `the connection to ${host} failed, for ${question.name}`, { cause: error })
  }

  async function patience(error: unknown, failures: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw signal.reason
    if (!isPassing(error) || failures >= limits.attempts) throw error
    const asked = error instanceof RegistryError ? error.retryAfterMs : null
    if (asked !== null && asked > limits.waitMs) throw error
    const longest = Math.min(limits.waitMs, limits.backoffMs * 2 ** (failures - 1))
    await clock.sleep(Math.max(asked ?? 0, longest / 2 + (Math.random() * longest) / 2), signal)
  }

  return { send, readBody, discard, failure, broken, patience }
}

function codeOf(
  status: number
): Extract<RegistryErrorCode, 'not-found' | 'unauthorized' | 'throttled' | 'unavailable' | 'invalid'> {
  if (status === 404) return 'not-found'
  if (status === 401 || status === 403) return 'unauthorized'
  if (status === 429) return 'throttled'
  if (status === 408 || status >= 500) return 'unavailable'
  return 'invalid'
}

/**
 * Where a redirect leads.
 * @throws RegistryError `invalid` for what is no http address, and for one that leaves https: a signed address and the
 * content behind it would be read by anyone on the way.
 */
export function redirectTarget(location: string | string[] | undefined, base: URL, name: string): URL {
  const target = typeof location === 'string' ? URL.parse(location, base.href) : null
  if (target === null || (target.protocol !== 'http:' && target.protocol !== 'https:')) {
    throw new RegistryError('invalid', `${name} is redirected to no http address`)
  }
  if (base.protocol === 'https:' && target.protocol !== 'https:') {
    throw new RegistryError('invalid', `${name} is redirected from https to http, at ${target.host}`)
  }
  return target
}

/**
 * `Retry-After` in milliseconds from now: seconds, or a date.
 * https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 * @returns null where there is none, or nothing that can be read.
 */
export function retryAfter(value: string | string[] | undefined, now: number): number | null {
  if (typeof value !== 'string') return null
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000
  const date = Date.parse(value)
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}
