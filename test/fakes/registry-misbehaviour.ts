import { randomUUID } from 'node:crypto'
import { json, type Misbehaviour } from './registry.ts'
import type { FakeAnswer, FakeRequest } from './server.ts'

// What registries do in the wild, each for itself: they compose, the first given outermost.

/** Only where a request is of that kind. */
export function when(
  kind: { readonly method?: string; readonly path?: RegExp; readonly header?: string },
  misbehaviour: Misbehaviour
): Misbehaviour {
  return (request, answer) => {
    const isKind =
      (kind.method === undefined || kind.method === request.method) &&
      (kind.path === undefined || kind.path.test(request.url.pathname)) &&
      (kind.header === undefined || request.headers[kind.header] !== undefined)
    return isKind ? misbehaviour(request, answer) : answer(request)
  }
}

/** For the first so many requests. */
export function times(count: number, misbehaviour: Misbehaviour): Misbehaviour {
  let left = count
  return (request, answer) => (left-- > 0 ? misbehaviour(request, answer) : answer(request))
}

/** Answers with a status and nothing else. */
export function refuse(status: number, headers: Readonly<Record<string, string>> = {}): Misbehaviour {
  return () => ({ status, headers, body: Buffer.alloc(0) })
}

/** Sends the same request to another server. */
export function redirectTo(origin: string, status = 307): Misbehaviour {
  return ({ url }) => ({
    status,
    headers: { location: `${origin}${url.pathname}?signature=secret` },
    body: Buffer.alloc(0)
  })
}

export function setHeader(name: string, value: string): Misbehaviour {
  return async (request, answer) => {
    const given = await answer(request)
    return { ...given, headers: { ...given.headers, [name]: value } }
  }
}

export function withoutHeader(name: string): Misbehaviour {
  return async (request, answer) => {
    const given = await answer(request)
    return { ...given, headers: Object.fromEntries(Object.entries(given.headers).filter(([key]) => key !== name)) }
  }
}

/** Answers with the whole where a part was asked for. */
export function ignoreRange(): Misbehaviour {
  return (request, answer) => answer({ ...request, headers: { ...request.headers, range: undefined } })
}

/** Breaks the connection after so many bytes of the body. */
export function cutAfter(bytes: number): Misbehaviour {
  return inBody(async function* (body) {
    yield body.subarray(0, bytes)
    throw new Error('cut')
  })
}

/** Sends so many bytes of the body, then nothing, and keeps the connection. */
export function stallAfter(bytes: number): Misbehaviour {
  return inBody(async function* (body, { closed }) {
    yield body.subarray(0, bytes)
    await new Promise((resolve) => closed.addEventListener('abort', resolve, { once: true }))
  })
}

/** Ends the body early as if that were all. */
export function truncateTo(bytes: number): Misbehaviour {
  return async (request, answer) => {
    const given = await answer(request)
    return { ...given, body: wholeBody(given).subarray(0, bytes) }
  }
}

/** As `truncateTo`, without a length that would tell. */
export function truncateUntold(bytes: number): Misbehaviour {
  return async (request, answer) => {
    const given = await answer(request)
    return { ...given, body: chunked(wholeBody(given).subarray(0, bytes)) }
  }
}

/** Other bytes of the same length. */
export function damage(): Misbehaviour {
  return async (request, answer) => {
    const given = await answer(request)
    const body = Buffer.from(wholeBody(given))
    body.writeUInt8((body.readUInt8(body.length - 1) ^ 1) & 0xff, body.length - 1)
    return { ...given, body }
  }
}

/** The body again and again, without end and without a length. */
export function endless(): Misbehaviour {
  return async (request, answer) => {
    const given = await answer(request)
    const block = Buffer.concat([wholeBody(given), Buffer.alloc(64 * 1024, ' ')])
    async function* repeated() {
      while (!request.closed.aborted) yield block
    }
    return { ...given, body: repeated() }
  }
}

function inBody(change: (body: Uint8Array, request: FakeRequest) => AsyncIterable<Uint8Array>): Misbehaviour {
  return async (request, answer) => {
    const given = await answer(request)
    const body = wholeBody(given)
    // The length of the whole: who counts can tell that something is missing.
    return {
      ...given,
      headers: { ...given.headers, 'content-length': String(body.length) },
      body: change(body, request)
    }
  }
}

function wholeBody({ body }: FakeAnswer): Uint8Array {
  if (body instanceof Uint8Array) return body
  throw new TypeError('this misbehaviour comes before one that streams')
}

async function* chunked(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

interface Login {
  readonly username: string
  readonly password: string
}

function basic({ username, password }: Login): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

/** https://www.rfc-editor.org/rfc/rfc7617 */
export function requireBasic(login: Login): Misbehaviour {
  return (request, answer) =>
    request.headers.authorization === basic(login)
      ? answer(request)
      : json(401, { errors: [{ code: 'UNAUTHORIZED' }] }, { 'www-authenticate': 'Basic realm="registry"' })
}

export interface TokenIssuer {
  /** A token server: `GET …?service=&scope=`. */
  issue(request: FakeRequest): FakeAnswer
  /** Whether an `Authorization` header holds for a scope, now. */
  accepts(authorization: string | undefined, scope: string): boolean
  /** Ends all tokens given out. */
  revoke(): void
}

export interface TokenIssuerOptions {
  /** Who gets tokens; everyone unless given. */
  readonly login?: Login
  /** In seconds; 60 unless given. */
  readonly lifetime?: number
  /** Milliseconds since the epoch. */
  readonly now?: () => number
}

/** https://distribution.github.io/distribution/spec/auth/token/ */
export function createTokenIssuer({ login, lifetime = 60, now = Date.now }: TokenIssuerOptions = {}): TokenIssuer {
  const issued = new Map<string, { scopes: string[]; until: number }>()
  return {
    issue: ({ url, headers }) => {
      if (login !== undefined && headers.authorization !== basic(login)) return json(401, {})
      const token = randomUUID()
      issued.set(`Bearer ${token}`, { scopes: url.searchParams.getAll('scope'), until: now() + lifetime * 1000 })
      return json(200, { token, expires_in: lifetime })
    },
    accepts: (authorization, scope) => {
      const found = issued.get(authorization ?? '')
      return found?.scopes.includes(scope) === true && found.until > now()
    },
    revoke: () => issued.clear()
  }
}

/** Lets a request through with a token of its own scope only. */
export function requireBearer(tokens: TokenIssuer, realm: string, service = 'fake-registry'): Misbehaviour {
  return (request, answer) => {
    const scope = scopeOf(request)
    return tokens.accepts(request.headers.authorization, scope)
      ? answer(request)
      : json(
          401,
          { errors: [{ code: 'UNAUTHORIZED' }] },
          { 'www-authenticate': `Bearer realm="${realm}",service="${service}",scope="${scope}"` }
        )
  }
}

function scopeOf({ method, url }: FakeRequest): string {
  const name = /^\/v2\/(.+)\/(?:manifests|blobs|tags)\//.exec(url.pathname)?.[1]
  if (name === undefined) return 'registry:catalog:*'
  return `repository:${name}:${method === 'GET' || method === 'HEAD' ? 'pull' : 'pull,push'}`
}
