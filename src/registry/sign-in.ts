import { type Challenge, parseChallenges } from './challenge.ts'
import { abortable, type Clock, startDeadline } from './deadline.ts'
import { type EcrTokens, isEcrRegistry } from './ecr.ts'
import { RegistryError } from './errors.ts'
import type { RegistryLimits } from './limits.ts'
import { parseDocument, tokenAnswer } from './schema.ts'
import type { Question, Transport } from './transport.ts'

const TOKEN_ANSWER_BYTES = 64 * 1024
const MAX_TOKEN_SECONDS = 24 * 60 * 60
/** A token counts as run out at this part of its life: it must still hold when the request arrives. */
const TOKEN_LIFE = 0.9
const MAX_TOKENS = 1_000

export interface Credentials {
  readonly username: string
  readonly password: string
}

/** What a registry answered to a request that it did not let through. */
export interface Refusal {
  /** The `WWW-Authenticate` header. */
  readonly challenge: string | string[] | undefined
  /** The `Authorization` header that was refused; null where none was sent. */
  readonly authorization: string | null
}

/** The `Authorization` header for requests to one registry, and to nowhere else. */
export interface SignIn {
  /**
   * The header to send: null before the registry has asked for any.
   * @param scope as the token specification writes it, `repository:service:pull`.
   */
  authorization(scope: string, signal: AbortSignal): Promise<string | null>
  /**
   * Another header after a refusal; null where there is none to try.
   * @throws RegistryError `unauthorized` with what is missing; else what asking for a token ends in.
   */
  renew(scope: string, refusal: Refusal, signal: AbortSignal): Promise<string | null>
}

export interface SignInDependencies {
  readonly transport: Transport
  readonly limits: RegistryLimits
  readonly clock: Clock
  /** Made on first use, and only for an ECR registry. */
  readonly ecrTokens: (registry: URL) => EcrTokens
}

/**
 * ECR's own registries sign in with the AWS credentials, whatever other credentials there are. All others are asked
 * without any first, and answered as they ask: Bearer before Basic.
 */
export function createSignIn(
  registry: URL,
  credentials: Credentials | null,
  { transport, limits, clock, ecrTokens }: SignInDependencies
): SignIn {
  return isEcrRegistry(registry)
    ? createEcrSignIn(ecrTokens(registry))
    : createAnswerToChallenge(registry, credentials, transport, limits, clock)
}

function createEcrSignIn(tokens: EcrTokens): SignIn {
  return {
    authorization: async (_scope, signal) => `Basic ${await tokens.current(signal)}`,
    renew: async (_scope, refusal, signal) => {
      const authorization = `Basic ${await tokens.renewed(refusal.authorization?.slice('Basic '.length) ?? '', signal)}`
      return authorization === refusal.authorization ? null : authorization
    }
  }
}

function createAnswerToChallenge(
  registry: URL,
  credentials: Credentials | null,
  transport: Transport,
  limits: RegistryLimits,
  clock: Clock
): SignIn {
  const basic = credentials === null ? null : basicHeader(credentials)
  // With the challenge that each answered, so that one that has run out is renewed without being refused first.
  const tokens = new Map<
    string,
    { readonly authorization: string; readonly until: number; readonly bearer: Challenge }
  >()
  const asked = new Map<string, Promise<string>>()
  // The registry wants Basic: from then on it is sent at once, and a layer does not cost two requests.
  let isBasic = false

  /** Asks for a token once for all that wait for it; the wait of each is its own. */
  function ask(scope: string, bearer: Challenge, signal: AbortSignal): Promise<string> {
    let token = asked.get(scope)
    if (token === undefined) {
      token = fetchToken(scope, bearer).finally(() => asked.delete(scope))
      // Everyone who waits may have given up by the time it fails.
      token.catch(() => {})
      asked.set(scope, token)
    }
    return abortable(token, signal)
  }

  async function fetchToken(scope: string, bearer: Challenge): Promise<string> {
    const realm = tokenServer(bearer.parameters.get('realm'), registry)
    const service = bearer.parameters.get('service')
    if (service !== undefined) realm.searchParams.set('service', service)
    // Some registries name their scopes in their own way (`metadata_read`), so theirs is asked for.
    realm.searchParams.set('scope', bearer.parameters.get('scope') ?? scope)
    const name = `a token of ${realm.host} for ${registry.host}`
    const deadline = startDeadline(limits.documentMs, name, undefined)
    // No redirects: nobody but the server that was checked gets to see the credentials or gives out tokens.
    const question: Question = { url: realm, name, authorization: basic, redirects: 0, signal: deadline.signal }
    try {
      const requestedAt = clock.now()
      const answer = await askTokenServer(question)
      const parsed = parseDocument(tokenAnswer, answer, name)
      const seconds = Math.min(parsed.expires_in, MAX_TOKEN_SECONDS)
      const authorization = `Bearer ${parsed.token ?? parsed.access_token}`
      if (tokens.size >= MAX_TOKENS) tokens.delete(tokens.keys().next().value ?? '')
      tokens.set(scope, { authorization, until: requestedAt + seconds * 1000 * TOKEN_LIFE, bearer })
      return authorization
    } finally {
      deadline.clear()
    }
  }

  async function askTokenServer(question: Question): Promise<Uint8Array> {
    for (let failures = 1; ; failures++) {
      try {
        const answer = await transport.send(question)
        if (answer.status === 200) return await transport.readBody(answer, TOKEN_ANSWER_BYTES, question)
        if (answer.status !== 401 && answer.status !== 403) throw await transport.failure(answer, question)
        await transport.discard(answer)
        throw new RegistryError(
          'unauthorized',
          basic === null
            ? `${question.url.host} gives no token for ${registry.host} without a user name and password`
            : `${question.url.host} does not accept the user name and password for ${registry.host}`
        )
      } catch (error) {
        await transport.patience(error, failures, question.signal)
      }
    }
  }

  return {
    authorization: async (scope, signal) => {
      if (isBasic) return basic
      const token = tokens.get(scope)
      if (token === undefined) return null
      return token.until > clock.now() ? token.authorization : ask(scope, token.bearer, signal)
    },

    renew: async (scope, refusal, signal) => {
      const token = tokens.get(scope)
      // Another request has renewed it while this one was under way.
      if (token !== undefined && token.authorization !== refusal.authorization) return token.authorization
      const challenges = parseChallenges([refusal.challenge ?? []].flat().join(', '))
      // Some registries say that a token has run out, and do not say again where another is to be had.
      const bearer = challenges.find(({ scheme }) => scheme === 'bearer') ?? (challenges.length === 0 && token?.bearer)
      if (bearer) return ask(scope, bearer, signal)
      if (!challenges.some(({ scheme }) => scheme === 'basic')) return null
      if (basic === null) {
        throw new RegistryError('unauthorized', `${registry.host} asks for a user name and password, and none are set`)
      }
      if (refusal.authorization === basic) {
        throw new RegistryError('unauthorized', `${registry.host} does not accept the user name and password`)
      }
      isBasic = true
      return basic
    }
  }
}

/**
 * The token server that a registry names. It gets the credentials, so it must be one of
 * - a server with https: whoever can name it could as well have asked for the credentials himself;
 * - the registry's own origin, where they would go anyway;
 * - a server on this machine, for a registry on this machine.
 * Anything else would send them, or accept a token, over a line that anyone may read and change.
 */
export function tokenServer(realm: string | undefined, registry: URL): URL {
  const url = realm === undefined ? null : URL.parse(realm)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new RegistryError('invalid', `${registry.host} asks for a token, and names no server that gives one`)
  }
  if (url.protocol === 'https:' || url.origin === registry.origin || (isLoopback(url) && isLoopback(registry)))
    return url
  throw new RegistryError(
    'unauthorized',
    `${registry.host} names ${url.host} as its token server, over http: no credentials are sent there`
  )
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(hostname)
}

/** https://www.rfc-editor.org/rfc/rfc7617 */
function basicHeader({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}
