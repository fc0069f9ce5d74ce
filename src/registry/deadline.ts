import { RegistryError } from './errors.ts'

/** Time as the client sees it, so that tests need not wait for it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
  /** Resolves after `ms`; rejects with the signal's reason as soon as it is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    abortable(
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms)
        signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
      }),
      signal
    )
}

/**
 * A signal that is aborted with the caller's signal and its reason, or after `ms` with a `timeout` error.
 * `clear` must be called: the timer and the listener on a long-lived signal would stay.
 */
export function startDeadline(
  ms: number,
  name: string,
  signal: AbortSignal | undefined
): { readonly signal: AbortSignal; clear(): void } {
  const controller = new AbortController()
  const follow = () => controller.abort(signal?.reason)
  if (signal?.aborted) follow()
  else signal?.addEventListener('abort', follow, { once: true })
  const timer = setTimeout(() => {
    controller.abort(new RegistryError('timeout', `${name} took longer than ${ms / 1000} seconds`))
  }, ms)
  return {
    signal: controller.signal,
    clear: () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', follow)
    }
  }
}

/** What a promise brings, or the signal's reason if that is first; the work behind the promise goes on for others. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
