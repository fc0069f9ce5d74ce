/**
 * `npm run demo`: a platform that does not exist, on this machine alone. The SQS emulator, the registry and the service are
 * real servers on loopback, and all that they learn of each other goes the way it goes in production. `--once` ends it after
 * the story is played.
 */
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compose, createLog } from '../src/compose.ts'
import { loadConfig } from '../src/config/config.ts'
import { pushImage } from '../test/fakes/image-builder.ts'
import { startRegistry } from '../test/fakes/registry.ts'
import { startSqs } from '../test/fakes/sqs.ts'
import { knownPort } from './known-port.ts'
import { platformImages } from './platform-images.ts'
import { makeQueues } from './queues.ts'
import { tellStory } from './story.ts'
import { whereToLook } from './where-to-look.ts'

const POLL_MS = 50
/** How long what is in hand may take to end. */
const STOP_MS = 10_000
/** Longer than the slowest machine needs; what is not taken in by then never will be. */
const PATIENCE_MS = 120_000

const say = (line: string) => console.log(line)

/** What was started, the first at the bottom: it is closed from the top. */
const started: { close(): Promise<void> | void }[] = []

async function startService(settings: NodeJS.ProcessEnv, logFile: string): Promise<string> {
  const log = createWriteStream(logFile)
  started.push({ close: () => new Promise((resolve) => log.end(resolve)) })
  const config = loadConfig(settings)
  const service = await compose({ config, log: createLog(config, log), environment: settings })
  started.push({ close: () => service.stop() })
  return service.start()
}

async function call<T>(url: string, body?: object): Promise<T> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, body && { method: 'POST', headers, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`)
  return (await response.json()) as T
}

/** Asks until everything is there. */
async function until(what: string, total: number, count: () => Promise<number>): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  for (let told = -1; ; ) {
    const done = await count()
    if (process.stdout.isTTY && done !== told) process.stdout.write(`\r  ${what}: ${done} of ${total}`)
    told = done
    if (done >= total) break
    if (Date.now() > deadline) throw new Error(`${what}: only ${done} of ${total} after ${PATIENCE_MS / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  say(`${process.stdout.isTTY ? '\r' : ''}  ${what}: ${total} of ${total}`)
}

async function play(): Promise<void> {
  const began = Date.now()
  // A file, not memory: the demo takes the way that production takes, and the file can be looked into while it serves.
  const folder = mkdtempSync(join(tmpdir(), 'cdp-demo-'))
  started.push({ close: () => rmSync(folder, { recursive: true, force: true }) })

  say('Starting an SQS emulator, a registry and the service …')
  const sqs = await startSqs({ port: await knownPort('sqs', say) })
  started.push(sqs)
  const queues = await makeQueues(sqs)
  const registry = await startRegistry({ port: await knownPort('registry', say) })
  started.push(registry)
  const settings = {
    PORT: String(await knownPort('api', say)),
    STORE_URL: `sqlite:${join(folder, 'cdp.db')}`,
    ECS_EVENTS_QUEUE_URL: queues.ecs,
    ECR_EVENTS_QUEUE_URL: queues.ecr,
    AWS_ENDPOINT_URL_SQS: sqs.endpoint,
    REGISTRY_URL: `http://localhost:${registry.port}`
  }
  const logFile = join(folder, 'cdp.log')
  const api = await startService(settings, logFile)
  const { environments } = loadConfig(settings)
  const now = Date.now()
  const story = tellStory(platformImages, environments, now)

  say(`Pushing ${platformImages.length} images to the registry …`)
  for (const { repository, version, image } of platformImages) await pushImage(registry.url, repository, version, image)

  say('Playing their push events, and a week of deployments …')
  await sqs.send(queues.ecr, story.ecr)
  await sqs.send(queues.ecs, story.ecs)
  let events = new Set([...story.ecr, ...story.ecs]).size
  const countEvents = async () => (await call<{ totalPages: number }>(`${api}/events?size=1`)).totalPages
  await until('events taken in', events, countEvents)
  await until('images scanned', platformImages.length, async () => {
    const artifacts = await call<{ scan: string }[]>(`${api}/artifacts`)
    return artifacts.filter(({ scan }) => scan !== 'pending').length
  })

  say('Asking the portal for three deployments, of which two happen …')
  for (const act of story.acts) {
    await call(`${api}/deployments`, act.request)
    const said = act.events(Date.now())
    await sqs.send(queues.ecs, said)
    events += 1 + said.length
  }
  await until('events taken in', events, countEvents)
  say(`Played in ${((Date.now() - began) / 1000).toFixed(1)} s.`)
  say(
    whereToLook({
      api,
      registryPort: registry.port,
      sqs: sqs.endpoint,
      queues,
      logFile,
      store: join(folder, 'cdp.db'),
      now
    })
  )
}

async function stop(): Promise<void> {
  // A second Ctrl-C is not heard, so this has an end of its own.
  setTimeout(() => process.exit(1), STOP_MS).unref()
  for (const one of started.toReversed()) await one.close()
}

const told = new Promise<'told'>((resolve) => {
  // Heard for good, so that the second one does not kill: npm passes on what Ctrl-C sends to both of them already.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve('told'))
})
const played = play().then(
  () => 'played' as const,
  (error: unknown) => ({ error })
)
let end = await Promise.race([played, told])
if (end === 'played' && !process.argv.includes('--once')) {
  say('Ctrl-C stops it, and forgets everything.')
  end = await told
}
await stop()
if (typeof end === 'object') console.error(end.error instanceof Error ? end.error.stack : end.error)
else if (end === 'told') say('Stopped.')
// The story may still be playing: it is not waited for.
process.exit(typeof end === 'object' ? 1 : 0)
