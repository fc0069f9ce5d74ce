/** The `cdp` command. Data go to stdout, everything else to stderr; exit codes: 0 done, 1 failed, 2 not understood or refused. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { deploymentEvents, pushEvent } from './cli/fake-events.ts'
import { parseImageArgument } from './cli/image-argument.ts'
import { formatBytes, imageDocument, imageReport } from './cli/image-report.ts'
import {
  type ImagePlace,
  inspect,
  type Platform,
  RegistryError,
  replayEvents,
  SendFailed,
  sendEvents
} from './compose.ts'
import { type Config, loadConfig } from './config/config.ts'
import { isRepositoryName, isTagName } from './domain/image-reference.ts'
import { EXIT_REFUSED, refusalOf, serve } from './main.ts'

const EXIT_FAILED = 1
/** How often a line of progress is drawn anew, in milliseconds. */
const PROGRESS_MS = 100
const ERASE_LINE = '\r\u001b[K'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

/** Runs the command line `argv` (without the program's own name). @returns the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  // Whoever reads our output may have seen enough: `cdp scan … | head`.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(0)
  })
  let code = 0
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
    .action(async () => {
      code = await serve(process.env)
    })

  program
    .command('scan')
    .description('read one image, and show what is inside it')
    .argument(
      '<image>',
      'host/name:tag, host/name@sha256:…, or a path of an OCI layout or an archive, with or without :tag',
      imageArgument
    )
    .option('--json', 'as JSON, in the shape of docs/command-line.md')
    .addOption(new Option('--platform <os/architecture>', 'which image of an index').argParser(platformArgument))
    .addHelpText(
      'after',
      '\nWithout a host, the image is looked for in the registry of the settings. Exit code 1: the image is missing, cannot be\n' +
        'read, or only in part.\n\nNeeds no store, so it is safe while one is being served.'
    )
    .action(async (image: ImageArgument, options: { json?: true; platform?: Platform }) => {
      code = await scan(loadConfig(process.env), image, options)
    })

  program
    .command('replay')
    .description('rebuild deployment state from the event log')
    .addHelpText(
      'after',
      '\nRefuses a store that is being served, and a log that has been trimmed. Deletes no artifact.'
    )
    .action(async () => {
      const progress = createProgress()
      const { store, events, changed } = await replayEvents(loadConfig(process.env), (sequence) =>
        progress.show(`${sequence} events`)
      )
      progress.end()
      process.stdout.write(`${events} events replayed into ${store}; ${changed} ended otherwise than before\n`)
    })

  program
    .command('fake-push')
    .description('send the push event of an image to ECR_EVENTS_QUEUE_URL, as ECR would')
    .argument('<image>', 'its repository, without a host', repositoryArgument)
    .argument('<tag>', 'a release, 1.2.3: others are not scanned', tagArgument)
    .addHelpText(
      'after',
      '\nFor development. Opens no store, so it is safe while one is being served: that is what it is for.'
    )
    .action(async (repository: string, tag: string) => {
      const config = loadConfig(process.env)
      const event = pushEvent(repository, tag, { region: config.aws.region, now: Date.now() })
      code = await send(config, config.queues.ecr, 'ECR_EVENTS_QUEUE_URL', [event])
    })

  program
    .command('fake-deployments')
    .description('send one running task for every environment to ECS_EVENTS_QUEUE_URL, as ECS would')
    .argument('<service>', "its image's repository, without a host", repositoryArgument)
    .argument('<version>', 'the tag of its image', tagArgument)
    .addHelpText(
      'after',
      '\nWhat the last call for that service sent is replaced, in every environment.\n\n' +
        'For development. Opens no store, so it is safe while one is being served: that is what it is for.'
    )
    .action(async (repository: string, tag: string) => {
      const config = loadConfig(process.env)
      const { environments, registry, aws } = config
      const registryHost = new URL(registry.url).host
      const events = deploymentEvents({
        environments,
        registryHost,
        repository,
        tag,
        region: aws.region,
        now: Date.now()
      })
      code = await send(config, config.queues.ecs, 'ECS_EVENTS_QUEUE_URL', events)
    })

  try {
    await program.parseAsync(argv, { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_REFUSED
    const failed = error instanceof RegistryError || error instanceof SendFailed
    const sentence = failed ? error.message : refusalOf(error)
    if (sentence === null) throw error
    complain(sentence)
    return failed ? EXIT_FAILED : EXIT_REFUSED
  }
}

interface ImageArgument {
  readonly text: string
  readonly place: ImagePlace
}

async function scan(
  config: Config,
  { text, place }: ImageArgument,
  { json, platform }: { json?: true; platform?: Platform }
): Promise<number> {
  const progress = createProgress()
  const inspection = await inspect(config, place, {
    platform: platform ?? null,
    onProgress: (read, total) => progress.show(`${formatBytes(read)} of ${formatBytes(total)}`)
  }).finally(() => progress.end())
  const report = json ? `${JSON.stringify(imageDocument(text, inspection), null, 2)}\n` : imageReport(text, inspection)
  process.stdout.write(report)
  if (inspection.scan === 'complete') return 0
  complain(`the scan of ${text} is ${inspection.scan}: ${inspection.problems[0] ?? 'no reason is known'}`)
  return EXIT_FAILED
}

async function send(
  config: Config,
  queueUrl: string | null,
  variable: string,
  events: readonly object[]
): Promise<number> {
  if (queueUrl === null) {
    complain(`${variable} is not set: there is no queue to send to`)
    return EXIT_REFUSED
  }
  await sendEvents(config, process.env, queueUrl, events)
  process.stdout.write(events.map((event) => `${JSON.stringify(event)}\n`).join(''))
  return 0
}

function imageArgument(text: string): ImageArgument {
  const place = parseImageArgument(text)
  if (place === null)
    throw new InvalidArgumentError('It is neither host/name:tag, host/name@sha256:… nor the path of an image.')
  return { text, place }
}

function platformArgument(text: string): Platform {
  const [, os, architecture, variant] = /^([a-z0-9]+)\/([a-z0-9]+)(?:\/([a-z0-9]+))?$/.exec(text) ?? []
  if (os === undefined || architecture === undefined)
    throw new InvalidArgumentError('It is not os/architecture or os/architecture/variant.')
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

function complain(sentence: string): void {
  process.stderr.write(`cdp: ${sentence}\n`)
}

/** A line on stderr that changes, where that is a terminal; nothing elsewhere. */
function createProgress(): { show(text: string): void; end(): void } {
  if (!process.stderr.isTTY) return { show: () => {}, end: () => {} }
  let shownAt = 0
  return {
    show(text) {
      const now = Date.now()
      if (now - shownAt < PROGRESS_MS) return
      shownAt = now
      process.stderr.write(`${ERASE_LINE}${text}`)
    },
    end() {
      if (shownAt > 0) process.stderr.write(ERASE_LINE)
    }
  }
}
