/**
 * Who may do what. Without a sign-in there are two bearer tokens (RFC 6750): one for the admin routes, one for the other
 * writes. What needs what is the table below; an `Authorization` header is not even looked at where nothing is needed.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'

/** What a route needs: nothing, the right to write, the right to administrate. */
export type Need = 'nothing' | 'write' | 'admin'

export interface RouteRule {
  readonly method: string
  /** The route's template, or its beginning, ending in `*`. */
  readonly route: string
  readonly need: Need
}

/** The first rule that fits decides. The last ones are for routes that somebody adds and forgets here. */
export const ROUTE_RULES: readonly RouteRule[] = [
  { method: '*', route: '/admin/*', need: 'admin' },
  { method: 'POST', route: '/deployments', need: 'write' },
  { method: 'POST', route: '/artifacts/placeholder', need: 'write' },
  { method: 'GET', route: '*', need: 'nothing' },
  { method: 'HEAD', route: '*', need: 'nothing' },
  { method: '*', route: '*', need: 'admin' }
]

/** What a route needs. */
export function needOf(method: string, route: string): Need {
  const fits = (pattern: string, text: string) =>
    pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : text === pattern
  return ROUTE_RULES.find((rule) => fits(rule.method, method) && fits(rule.route, route))?.need ?? 'admin'
}

/** Whether somebody may do something; if not, why, in a sentence that names no token. */
export type Verdict =
  | { readonly admitted: true }
  | {
      readonly admitted: false
      /** `unauthenticated`: a token is missing or unknown; `forbidden`: none that could be sent here would do. */
      readonly code: 'unauthenticated' | 'forbidden'
      readonly reason: string
      /** The `WWW-Authenticate` header that goes with it (RFC 6750, section 3); null where no token would help. */
      readonly challenge: string | null
    }

export interface Access {
  /** @param authorization the request's `Authorization` header. */
  admit(need: Need, authorization: string | undefined): Verdict
}

export interface AccessSettings {
  /** The address that the API listens on. */
  readonly host: string
  readonly adminToken: string | null
  readonly writeToken: string | null
}

const REALM = 'Bearer realm="cdp-portal-backend"'
const BEARER = /^Bearer +(\S+) *$/i

/** Whether only this machine can reach a host that is listened on. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase()
  if (isIP(bare) === 4) return bare.startsWith('127.')
  if (isIP(bare) === 6) return bare === '::1' || bare.startsWith('::ffff:127.')
  return bare === 'localhost'
}

/** Digests have one length, so that the comparison takes the same time whatever was sent. */
function isSame(token: string, sent: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(token), digest(sent))
}

export function createAccess({ host, adminToken, writeToken }: AccessSettings): Access {
  const admitted: Verdict = { admitted: true }
  const unauthenticated = (reason: string, challenge: string): Verdict => ({
    admitted: false,
    code: 'unauthenticated',
    reason,
    challenge
  })

  function withToken(accepted: readonly string[], authorization: string | undefined): Verdict {
    const sent = BEARER.exec(authorization ?? '')?.[1]
    if (sent === undefined) return unauthenticated('This needs an Authorization header with a bearer token.', REALM)
    // Every token is compared, so that the time does not tell which one was nearly right.
    const matches = accepted.map((token) => isSame(token, sent))
    if (matches.includes(true)) return admitted
    if (writeToken !== null && isSame(writeToken, sent)) {
      const reason = 'This needs the admin token; the token that was sent is for other writes.'
      return { admitted: false, code: 'forbidden', reason, challenge: `${REALM}, error="insufficient_scope"` }
    }
    return unauthenticated('The bearer token that was sent is not known.', `${REALM}, error="invalid_token"`)
  }

  function admitAdmin(authorization: string | undefined): Verdict {
    if (adminToken !== null) return withToken([adminToken], authorization)
    if (isLoopbackHost(host)) return admitted
    const reason =
      'Admin routes are closed: the service listens on an address that others can reach, and ADMIN_TOKEN is not set.'
    return { admitted: false, code: 'forbidden', reason, challenge: null }
  }

  return {
    admit(need, authorization) {
      switch (need) {
        case 'nothing':
          return admitted
        case 'write':
          if (writeToken === null) return admitted
          return withToken([writeToken, ...(adminToken === null ? [] : [adminToken])], authorization)
        case 'admin':
          return admitAdmin(authorization)
      }
    }
  }
}
