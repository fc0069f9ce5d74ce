/** The `cdp` command. Data go to stdout, everything else to stderr; exit codes: 0 done, 1 failed, 2 not understood or refused. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { parseImageArgument } from './cli/image-argument.ts'
import type { ImagePlace, Platform } from './compose.ts'
import { isRepositoryName, isTagName } from './domain/image-reference.ts'

type Commands = typeof import('./cli/commands.ts')

const EXIT_NOT_UNDERSTOOD = 2

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

/** Runs the command line `argv` (without the program's own name). @returns the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  // Whoever reads our output may have seen enough: `cdp scan … | head`.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(0)
  })
  let chosen = null as ((commands: Commands) => Promise<number>) | null
  try {
    describe((command) => {
      chosen = command
    }).parse(argv, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_NOT_UNDERSTOOD
    throw error
  }
  if (chosen === null) return 0
  // The parts of the service take a second to load: help and refusals need none of them.
  return chosen(await import('./cli/commands.ts'))
}

/** Describes the command line; `choose` is told what a line that was understood asks for. */
function describe(choose: (command: (commands: Commands) => Promise<number>) => void): Command {
  const environment = process.env
  const program = new Command('cdp')
    .description('What is running where, what can be deployed, and what is inside it.')
    .version(version)
    .exitOverride()
    .configureOutput({
      outputError(text, write) {
        const line = text
          .trim()
          .replace(/^error: /, '')
          .replace(/\s*\n\s*/g, ' ')
          .replace(/\.$/, '')
        write(`cdp: ${line}; see cdp --help\n`)
      }
    })
    .addHelpText(
      'after',
      '\nSettings come from the environment, and from a file .env: see docs/configuration.md.\n' +
        'Exit codes: 0 done, 1 failed, 2 not understood or refused.'
    )

  program
    .command('serve')
    .description('serve the API, read the queues, scan images, until SIGTERM or Ctrl-C')
    .addHelpText('after', '\nOne process serves a SQLite store.')
    .action(() => choose((commands) => commands.serve(environment)))

  program
    .command('scan')
    .description('read one image, and show what is inside it')
    .argument(
      '<image>',
      'host/name:tag, host/name@sha256:…, or the path of an OCI layout or an archive, with or without :tag',
      imageArgument
    )
    .option('--json', 'as JSON, in the shape of docs/command-line.md', false)
    .option('--platform <os/architecture>', 'which image of an index', platformArgument)
    .addHelpText(
      'after',
      '\nWithout a host, the image is looked for in the registry of the settings. Exit code 1: the image is missing, cannot be\n' +
        'read, or only in part.\n\nNeeds no store, so it is safe while one is being served.'
    )
    .action((image: { name: string; place: ImagePlace }, { json, platform }: { json: boolean; platform?: Platform }) =>
      choose((commands) => commands.scan(environment, { ...image, json, platform: platform ?? null }))
    )

  program
    .command('replay')
    .description('rebuild deployment state from the event log')
    .addHelpText(
      'after',
      '\nRefuses a store that is being served, and a log that has been trimmed. Deletes no artifact.'
    )
    .action(() => choose((commands) => commands.replay(environment)))

  program
    .command('fake-push')
    .description('send the push event of an image to ECR_EVENTS_QUEUE_URL, as ECR would')
    .argument('<image>', 'its repository, without a host', repositoryArgument)
    .argument('<tag>', 'a release, 1.2.3: others are not scanned', tagArgument)
    .addHelpText('after', '\nFor development. Opens no store, so it is safe while one is being served.')
    .action((repository: string, tag: string) => choose((commands) => commands.fakePush(environment, repository, tag)))

  program
    .command('fake-deployments')
    .description('send one running task for every environment to ECS_EVENTS_QUEUE_URL, as ECS would')
    .argument('<service>', "its image's repository, without a host", repositoryArgument)
    .argument('<version>', 'the tag of its image', tagArgument)
    .addHelpText(
      'after',
      '\nWhat the last call for that service sent is replaced, in every environment.\n\n' +
        'For development. Opens no store, so it is safe while one is being served.'
    )
    .action((repository: string, tag: string) =>
      choose((commands) => commands.fakeDeployments(environment, repository, tag))
    )

  return program
}

function imageArgument(name: string): { name: string; place: ImagePlace } {
  const place = parseImageArgument(name)
  if (place === null) {
    throw new InvalidArgumentError('It is neither host/name:tag, host/name@sha256:… nor the path of an image.')
  }
  return { name, place }
}

function platformArgument(text: string): Platform {
  const [, os, architecture, variant] = /^([a-z0-9]+)\/([a-z0-9]+)(?:\/([a-z0-9]+))?$/.exec(text) ?? []
  if (os === undefined || architecture === undefined) {
    throw new InvalidArgumentError('It is not os/architecture or os/architecture/variant.')
  }
  return { os, architecture, ...(variant === undefined ? {} : { variant }) }
}

function repositoryArgument(text: string): string {
  if (!isRepositoryName(text)) throw new InvalidArgumentError("It is no repository's name.")
  return text
}

function tagArgument(text: string): string {
  if (!isTagName(text)) throw new InvalidArgumentError('It is no tag.')
  return text
}
