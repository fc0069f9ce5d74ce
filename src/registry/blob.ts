import { startDeadline } from './deadline.ts'
import { RegistryError } from './errors.ts'
import type { Descriptor } from './image-source.ts'
import type { RegistryLimits } from './limits.ts'
import type { Answer, Question, Transport } from './transport.ts'

export interface BlobDependencies {
  /** One signed-in request; throws for every status that is not wanted. */
  readonly request: (question: Question, wanted: readonly number[]) => Promise<Answer>
  readonly transport: Transport
  readonly limits: RegistryLimits
}

/**
 * A blob's bytes, from the first to the last, over as many requests as it takes: one that breaks off is taken up where it
 * ended, with `Range` where the server knows it, else by skipping what was had.
 * @throws RegistryError while it streams: `digest-mismatch` where the length is not the descriptor's, `too-large` where
 * that is above the limit, `timeout` and `unavailable` once trying again is no use.
 */
export async function* streamBlob(
  { request, transport, limits }: BlobDependencies,
  { url, name, descriptor }: { readonly url: URL; readonly name: string; readonly descriptor: Descriptor },
  signal: AbortSignal | undefined
): AsyncGenerator<Uint8Array, void> {
  const { size, mediaType } = descriptor
  if (size > limits.blobBytes) {
    throw new RegistryError('too-large', `${name} has ${size} bytes, more than the ${limits.blobBytes} that are read`)
  }
  const deadline = startDeadline(limits.blobMs, name, signal)
  const accept = `${mediaType}, */*`
  let position = 0
  let failures = 0
  let resumes = 0
  let isRangeRefused = false
  try {
    // At least one request, also for no bytes: an empty blob that is not there must not pass for one that is.
    do {
      const start = position
      const headers: Record<string, string> =
        position > 0 && !isRangeRefused ? { accept, range: `bytes=${position}-` } : { accept }
      const question: Question = { url, name, headers, signal: deadline.signal }
      let answer: Answer | null = null
      try {
        answer = await request(question, [200, 206, 416])
        if (answer.status === 416) {
          // It knows the header and not the range: from the start then, and what was had is skipped.
          if (isRangeRefused || position === 0) throw await transport.failure(answer, question)
          isRangeRefused = true
          continue
        }
        let skip = position - bodyStart(answer, position, size, name)
        for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
          const bytes = chunk.subarray(Math.min(skip, chunk.length))
          skip -= chunk.length - bytes.length
          if (bytes.length === 0) continue
          if (position + bytes.length > size) throw otherSize(name, size)
          position += bytes.length
          failures = 0
          yield bytes
        }
        if (position < size) {
          // Once more from here; where nothing comes then, there is no more of it.
          const code = position > start ? 'unavailable' : 'digest-mismatch'
          throw new RegistryError(code, `${name} ends after ${position} of its ${size} bytes`)
        }
      } catch (caught) {
        resumes++
        failures++
        const tries = resumes > limits.resumes ? limits.attempts : failures
        await transport.patience(transport.broken(caught, question), tries, deadline.signal)
      } finally {
        // Also where the reader has left the loop: the transfer must not go on for nobody.
        answer?.body.destroy()
      }
    } while (position < size)
  } finally {
    deadline.clear()
  }
}

/**
 * Where in the blob an answer's body begins: at 0, unless it says that it is a part.
 * https://www.rfc-editor.org/rfc/rfc9110#field.content-range
 * @throws RegistryError where that cannot be told or leaves a gap, or the length is another than the descriptor's.
 */
function bodyStart(answer: Answer, position: number, size: number, name: string): number {
  if (answer.status === 200) {
    const length = answer.headers['content-length']
    if (length !== undefined && Number(length) !== size) throw otherSize(name, size)
    return 0
  }
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(String(answer.headers['content-range'] ?? ''))
  const start = Number(range?.[1] ?? Number.POSITIVE_INFINITY)
  if (start > position) throw new RegistryError('invalid', `${name} came in a part that does not fit`)
  if (range?.[2] !== '*' && Number(range?.[2]) !== size) throw otherSize(name, size)
  return start
}

function otherSize(name: string, size: number): RegistryError {
  return new RegistryError('digest-mismatch', `${name} does not have the ${size} bytes that it should have`)
}
