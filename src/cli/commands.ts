/** What the commands do, once their arguments are understood. */
import {
  type ImagePlace,
  inspect,
  type Platform,
  RegistryError,
  replayEvents,
  SendFailed,
  sendEvents
} from '../compose.ts'
import { type Config, loadConfig } from '../config/config.ts'
import { EXIT_REFUSED, refusalOf, serve as serveUntilTold } from '../main.ts'
import { deploymentEvents, pushEvent } from './fake-events.ts'
import { formatBytes, imageDocument, imageReport } from './image-report.ts'
import { createProgress } from './progress.ts'

type Environment = NodeJS.ProcessEnv

const EXIT_DONE = 0
const EXIT_FAILED = 1

export const serve = serveUntilTold

export interface ScanArguments {
  /** As it was written. */
  readonly name: string
  readonly place: ImagePlace
  readonly platform: Platform | null
  readonly json: boolean
}

/** Shows what is inside an image. @returns 1 where it is missing, cannot be read, or only in part. */
export function scan(environment: Environment, { name, place, platform, json }: ScanArguments): Promise<number> {
  return explained(async () => {
    const config = loadConfig(environment)
    const progress = createProgress()
    const onProgress = (read: number, total: number) => progress.show(`${formatBytes(read)} of ${formatBytes(total)}`)
    const inspection = await inspect(config, place, { platform, onProgress }).finally(progress.end)
    const document = () => `${JSON.stringify(imageDocument(name, inspection), null, 2)}\n`
    process.stdout.write(json ? document() : imageReport(name, inspection))
    if (inspection.scan === 'complete') return EXIT_DONE
    complain(`the scan of ${name} is ${inspection.scan}: ${inspection.problems.join('; ')}`)
    return EXIT_FAILED
  })
}

/** Rebuilds deployment state from the event log. @returns 2 where the store must not be touched now. */
export function replay(environment: Environment): Promise<number> {
  return explained(async () => {
    const progress = createProgress()
    const onProgress = (sequence: number) => progress.show(`${sequence} events`)
    const { store, events, changed } = await replayEvents(loadConfig(environment), onProgress).finally(progress.end)
    process.stdout.write(`${events} events replayed into ${store}; ${changed} ended otherwise than before\n`)
    return EXIT_DONE
  })
}

/** Sends the push event of one image. @returns 2 where no queue is set. */
export function fakePush(environment: Environment, repository: string, tag: string): Promise<number> {
  return explained(async () => {
    const config = loadConfig(environment)
    const event = pushEvent(repository, tag, { region: config.aws.region, now: Date.now() })
    return send(config, environment, { queueUrl: config.queues.ecr, variable: 'ECR_EVENTS_QUEUE_URL' }, [event])
  })
}

/** Sends one running task for every environment. @returns 2 where no queue is set. */
export function fakeDeployments(environment: Environment, repository: string, tag: string): Promise<number> {
  return explained(async () => {
    const config = loadConfig(environment)
    const { environments, registry, aws, queues } = config
    const events = deploymentEvents({
      environments,
      registryHost: new URL(registry.url).host,
      repository,
      tag,
      region: aws.region,
      now: Date.now()
    })
    return send(config, environment, { queueUrl: queues.ecs, variable: 'ECS_EVENTS_QUEUE_URL' }, events)
  })
}

async function send(
  config: Config,
  environment: Environment,
  { queueUrl, variable }: { queueUrl: string | null; variable: string },
  events: readonly object[]
): Promise<number> {
  if (queueUrl === null) {
    complain(`${variable} is not set: there is no queue to send to`)
    return EXIT_REFUSED
  }
  await sendEvents(config, environment, queueUrl, events)
  process.stdout.write(events.map((event) => `${JSON.stringify(event)}\n`).join(''))
  return EXIT_DONE
}

/** Tells a failure that its user can mend as a sentence; a fault of the program keeps its stack. */
async function explained(work: () => Promise<number>): Promise<number> {
  try {
    return await work()
  } catch (error) {
    const failed = error instanceof RegistryError || error instanceof SendFailed
    const sentence = failed ? error.message : refusalOf(error)
    if (sentence === null) throw error
    complain(sentence)
    return failed ? EXIT_FAILED : EXIT_REFUSED
  }
}

function complain(sentence: string): void {
  process.stderr.write(`cdp: ${sentence}\n`)
}
