import { isIPv4, isIPv6, Socket } from 'node:net'

/** What a connection that a test must not make fails with. */
export const NOT_LOOPBACK = 'ERR_NOT_LOOPBACK'

/**
 * Whether a host that is to be dialled is this machine. A name other than `localhost` is not, even if it would resolve to
 * it: a name server would have to be asked.
 */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase()
  if (isIPv4(bare)) return bare.startsWith('127.')
  if (isIPv6(bare)) return bare === '::1' || bare.startsWith('::ffff:127.')
  return bare === 'localhost' || bare.endsWith('.localhost')
}

/**
 * The host that the arguments of `Socket.prototype.connect` name; null for a pipe or socket file. `net.connect` and
 * `tls.connect` hand over their arguments as one array, in a form of Node's own: `[options, callback]`.
 */
function hostOf(args: readonly unknown[]): string | null {
  const [first, second] = Array.isArray(args[0]) ? (args[0] as unknown[]) : args
  if (typeof first === 'object' && first !== null) {
    const options = first as { path?: unknown; host?: unknown }
    if (options.path) return null
    return typeof options.host === 'string' ? options.host : 'localhost'
  }
  if (typeof first === 'string' && !/^\d+$/.test(first)) return null
  return typeof second === 'string' ? second : 'localhost'
}

const GUARDED = Symbol.for('test.loopback-only')
const connect = Socket.prototype.connect as ((...args: unknown[]) => Socket) & { [GUARDED]?: true }

// Every TCP and TLS client of Node, fetch and undici too, comes through here. The connection fails as one that the
// network refused would, so that what is under test takes its ordinary way.
if (connect[GUARDED] !== true) {
  const guarded = function (this: Socket, ...args: unknown[]): Socket {
    const host = hostOf(args)
    if (host === null || isLoopback(host)) return connect.apply(this, args)
    const refusal = new Error(`a test may dial this machine only, and this one dialled ${host}`)
    return this.destroy(Object.assign(refusal, { code: NOT_LOOPBACK }))
  }
  Socket.prototype.connect = Object.assign(guarded, { [GUARDED]: true }) as typeof Socket.prototype.connect
}
