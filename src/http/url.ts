/** One place decides which route an address means, so that the routes themselves have one form each. */

/** Existing clients put this before every path. */
const PREFIX = '/cdp-portal-backend'

/**
 * Routes whose parameter is the rest of the path: the name of an image or a service, an id of ECS or an ARN may hold
 * slashes, and older clients send them raw.
 */
const REST_IS_ONE_PARAMETER = ['/deployables/', '/services/', '/whats-running-where/', '/deployments/']

/** What a client that talks to a proxy puts before the path (RFC 9112, section 3.2.2). */
const ORIGIN = /^https?:\/\/[^/?]*/i

/**
 * Rewrites the target of a request: without an origin, without the prefix in any case, and with the slashes inside a
 * parameter percent-encoded. The query stays as it is.
 */
export function rewriteTarget(target: string): string {
  const question = target.indexOf('?')
  const end = question === -1 ? target.length : question
  const query = target.slice(end)
  let path = target.slice(0, end).replace(ORIGIN, '')
  if (startsWith(path, PREFIX) && (path.length === PREFIX.length || path[PREFIX.length] === '/')) {
    path = path.slice(PREFIX.length)
  }
  // `OPTIONS *` asks about no path at all.
  if (!path.startsWith('/')) path = `/${path}`
  const route = REST_IS_ONE_PARAMETER.find((beginning) => startsWith(path, beginning))
  if (route === undefined) return path + query
  const rest = path.slice(route.length).replace(/\/$/, '')
  return path.slice(0, route.length) + rest.replaceAll('/', '%2F') + query
}

function startsWith(path: string, beginning: string): boolean {
  return path.slice(0, beginning.length).toLowerCase() === beginning
}

/** Whether every percent sign of a query begins an encoded character of UTF-8. */
export function isQueryWellFormed(target: string): boolean {
  const question = target.indexOf('?')
  if (question === -1) return true
  try {
    decodeURIComponent(target.slice(question + 1))
    return true
  } catch {
    return false
  }
}
