/** Requests that never become one for fastify: Node's parser refuses them, and its own answers have no body. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Problem, type ProblemCode, problemDocument } from './errors.ts'

/** Node's codes for what its parser refuses (https://nodejs.org/api/http.html#event-clienterror). */
const PARSER_PROBLEMS: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  HPE_HEADER_OVERFLOW: ['headers-too-large', 'The headers are too large.'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['body-too-large', 'The chunk extensions of the body are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['request-timeout', 'The request took too long to arrive.']
}

/** The parts of an answer after which the connection ends. */
function lastAnswer(problem: Problem) {
  const { status, headers, body } = problemDocument(problem)
  const text = JSON.stringify(body)
  const all = { ...headers, 'content-length': String(Buffer.byteLength(text)), connection: 'close' }
  return { status, title: body.title, headers: all, text }
}

/** Answers a socket on which there is no request to answer, and ends it. */
function answerSocket(socket: Duplex, problem: Problem): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const { status, title, headers, text } = lastAnswer(problem)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  socket.end(`${[`HTTP/1.1 ${status} ${title}`, ...lines].join('\r\n')}\r\n\r\n${text}`)
}

/** For fastify's `clientErrorHandler`. */
export function answerParserError(error: Error & { readonly code?: string }, socket: Socket): void {
  // The client is gone: there is nobody to answer.
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const [code, sentence] = PARSER_PROBLEMS[error.code ?? ''] ?? ['malformed-request', 'This is no request in HTTP.']
  answerSocket(socket, new Problem(code, sentence))
}

/** Answers what Node hands to events of their own, and would otherwise end without a body. */
export function answerOddRequests(server: Server): void {
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => {
    answerSocket(socket, new Problem('no-such-route', 'This is no proxy.'))
  })
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const { status, headers, text } = lastAnswer(
      new Problem('expectation-failed', 'Only 100-continue can be expected.')
    )
    response.writeHead(status, headers).end(text)
  })
}
