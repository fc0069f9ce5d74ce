import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'

/** A long demo must not fill the memory with what it was asked. */
const MAX_LOGGED = 10_000

export interface FakeRequest {
  readonly method: string
  readonly url: URL
  readonly headers: IncomingHttpHeaders
  readonly body: AsyncIterable<Buffer>
  /** Aborted once the client is gone or the answer is out. */
  readonly closed: AbortSignal
}

export interface FakeAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** A stream that throws cuts the connection. */
  readonly body: Uint8Array | AsyncIterable<Uint8Array>
}

export interface LoggedRequest {
  readonly method: string
  /** With its query. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly status: number
}

export interface FakeServer {
  readonly url: string
  /** `127.0.0.1:5000` */
  readonly host: string
  readonly port: number
  /** What was asked, in the order of the answers; the oldest are dropped. */
  readonly requests: LoggedRequest[]
  close(): Promise<void>
}

export interface FakeServerOptions {
  /** A free one unless given. */
  readonly port?: number
  readonly host?: string
}

/**
 * A real HTTP server for a function that answers.
 * @throws what listening fails with, `EADDRINUSE` for a port that is taken.
 */
export async function startServer(
  answer: (request: FakeRequest) => Promise<FakeAnswer> | FakeAnswer,
  { port = 0, host = '127.0.0.1' }: FakeServerOptions = {}
): Promise<FakeServer> {
  const requests: LoggedRequest[] = []
  const server = createServer((incoming, outgoing) => {
    void respond(incoming, outgoing)
  })

  async function respond(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const closed = new AbortController()
    outgoing.on('close', () => closed.abort())
    outgoing.on('error', () => closed.abort())
    const path = incoming.url ?? '/'
    const method = incoming.method ?? 'GET'
    const { headers } = incoming
    let given: FakeAnswer
    try {
      const url = new URL(path, `http://${headers.host ?? 'localhost'}`)
      given = await answer({ method, url, headers, body: bodyOf(incoming), closed: closed.signal })
    } catch (error) {
      given = { status: 500, headers: {}, body: Buffer.from(error instanceof Error ? error.message : 'unknown') }
    }
    if (requests.length >= MAX_LOGGED) requests.shift()
    requests.push({ method, path, headers, status: given.status })
    try {
      await write(outgoing, given, method === 'HEAD', closed.signal)
    } catch {
      outgoing.destroy()
    }
    // The rest of a request that was refused: the client sends it before it reads the answer.
    incoming.resume()
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const { port: listening } = server.address() as AddressInfo
  const name = `${isIPv6(host) ? `[${host}]` : host}:${listening}`
  return {
    url: `http://${name}`,
    host: name,
    port: listening,
    requests,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)))
        server.closeAllConnections()
      })
  }
}

/** A body whose reader may stop early and still answer. */
function bodyOf(incoming: IncomingMessage): AsyncIterable<Buffer> {
  return { [Symbol.asyncIterator]: () => incoming.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer> }
}

async function write(outgoing: ServerResponse, answer: FakeAnswer, isHead: boolean, closed: AbortSignal) {
  const { status, headers, body } = answer
  if (body instanceof Uint8Array) {
    outgoing.writeHead(status, { 'content-length': String(body.length), ...headers })
    outgoing.end(isHead ? undefined : body)
    return
  }
  outgoing.writeHead(status, headers)
  if (!isHead) {
    // Without this, the headers would wait for a first byte that a stalling body never brings.
    outgoing.flushHeaders()
    for await (const chunk of body) {
      if (closed.aborted) return
      await sent(outgoing, chunk)
    }
  }
  outgoing.end()
}

/** Waits until a chunk has left, or the client has: what is only buffered is lost where a body cuts the connection next. */
function sent(outgoing: ServerResponse, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    outgoing.write(chunk, () => resolve())
  })
}
