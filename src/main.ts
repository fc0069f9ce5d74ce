/** The process: starts the service, and ends it in order when it is told to. */
import { compose, createLog, ReplayRefused, StartRefused } from './compose.ts'
import { ConfigError, loadConfig } from './config/config.ts'
import { StoreError } from './store/port.ts'

/** The process could not be started: settings, store or port. */
export const EXIT_REFUSED = 2

const SIGNALS = ['SIGTERM', 'SIGINT'] as const

const REFUSALS = [ConfigError, StartRefused, ReplayRefused, StoreError]

/** What an operator can mend, in one sentence; null for a fault of the program. */
export function refusalOf(error: unknown): string | null {
  if (REFUSALS.some((refusal) => error instanceof refusal)) return (error as Error).message
  if (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'EADDRINUSE' || error.code === 'EACCES' || error.code === 'EADDRNOTAVAIL')
  ) {
    return `the address cannot be listened on: ${error.message}`
  }
  return null
}

/**
 * Serves until a SIGTERM or SIGINT has been worked off, and ends the process: with 0 after an orderly end, with 1 where
 * that took too long.
 * @returns the exit code 2 where the service could not start.
 */
export async function serve(environment: NodeJS.ProcessEnv): Promise<number> {
  try {
    const config = loadConfig(environment)
    const log = createLog(config)
    const told = new Promise<NodeJS.Signals>((resolve) => {
      // Heard for good, so that the second one does not kill: npm passes on what Ctrl-C sends to both of them already.
      for (const signal of SIGNALS) process.on(signal, resolve)
    })
    const service = await compose({ config, log, environment })
    try {
      await service.start()
    } catch (error) {
      await service.stop()
      throw error
    }
    const signal = await told
    log.info({ signal }, 'stopping')
    const deadline = new Promise<'late'>((resolve) =>
      setTimeout(resolve, config.shutdownSeconds * 1000, 'late').unref()
    )
    const ended = await Promise.race([service.stop(), deadline])
    if (ended === 'late') log.error({ seconds: config.shutdownSeconds }, 'not everything stopped in time')
    else log.info('stopped')
    // Whatever would keep the process alive after that is not waited for.
    process.exit(ended === 'late' ? 1 : 0)
  } catch (error) {
    const sentence = refusalOf(error)
    if (sentence === null) throw error
    process.stderr.write(`${sentence}\n`)
    return EXIT_REFUSED
  }
}
