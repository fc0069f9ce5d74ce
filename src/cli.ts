/** The `cdp` command. Data go to stdout, everything else to stderr; exit codes: 0 done, 1 failed, 2 not understood or refused. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { openStore, readingOptions } from './compose.ts'
import { loadConfig } from './config/config.ts'
import { replay } from './events/events.ts'
import { EXIT_REFUSED, refusalOf, serve } from './main.ts'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

/** Runs the command line `argv` (without the program's own name). @returns the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  let code = 0
  const program = new Command('cdp')
    .description('What is running where, what can be deployed, and what is inside it.')
    .version(version)
    .exitOverride()
    .showHelpAfterError()

  program
    .command('serve')
    .description('serve the API, read the queues, scan images; settings come from the environment')
    .action(async () => {
      code = await serve(process.env)
    })

  program
    .command('replay')
    .description('rebuild deployment state from the event log; refuses a store that is being served')
    .action(async () => {
      const config = loadConfig(process.env)
      const store = openStore(config)
      try {
        const { events, changed } = await replay(store, {
          ...readingOptions(config),
          now: Date.now,
          onProgress: (sequence) => process.stderr.write(`\r${sequence} events`)
        })
        process.stderr.write('\n')
        process.stdout.write(`${events} events replayed into ${store.description}; ${changed} ended otherwise than before\n`)
      } finally {
        await store.close()
      }
    })

  try {
    await program.parseAsync(argv, { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_REFUSED
    const sentence = refusalOf(error)
    if (sentence === null) throw error
    process.stderr.write(`${sentence}\n`)
    return EXIT_REFUSED
  }
}
