/**
 * How long from a push event on SQS to an artifact with its files? The first version of an image, then the second, which
 * shares two of its three layers; each beside `curl | gzip -dc | tar -t` of the same layers in the same run.
 *
 *     bench/make-images.sh localhost:5000 /tmp/images
 *     REGISTRY_URL=http://localhost:5000 npm run bench -- scan
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { compose } from '../src/compose.ts'
import { loadConfig } from '../src/config/config.ts'
import { startSqs } from '../test/fakes/sqs.ts'
import { report } from './measure.ts'

const IMAGE = 'cdp-portal-frontend'
const ROUNDS = 5
const POLL_MS = 2

const registry = process.env.REGISTRY_URL
if (registry === undefined) throw new Error('REGISTRY_URL: a registry that bench/make-images.sh has pushed to')

interface Artifact {
  readonly scan: string
  readonly files: readonly { readonly path: string; readonly layerSha256: string }[]
}

/** One service with an empty store; answers the milliseconds from each push event to its artifact. */
async function scanBoth(): Promise<{ first: number; second: number; artifact: Artifact }> {
  const folder = mkdtempSync(join(tmpdir(), 'cdp-bench-'))
  const sqs = await startSqs()
  const queue = await sqs.createQueue('ecr-push-events')
  const settings = {
    PORT: '0',
    STORE_URL: `sqlite:${folder}/cdp.db`,
    REGISTRY_URL: registry,
    ECR_EVENTS_QUEUE_URL: queue,
    AWS_ENDPOINT_URL_SQS: sqs.endpoint
  }
  const service = await compose({ config: loadConfig(settings), log: pino({ level: 'silent' }), environment: settings })
  const api = await service.start()

  async function scan(tag: string): Promise<{ time: number; artifact: Artifact }> {
    const detail = { result: 'SUCCESS', 'action-type': 'PUSH', 'image-tag': tag, 'repository-name': IMAGE }
    const begun = performance.now()
    await sqs.send(queue, [JSON.stringify({ detail })])
    for (;;) {
      const response = await fetch(`${api}/artifacts/${IMAGE}/${tag}`)
      const artifact = (await response.json()) as Artifact
      if (response.ok && artifact.scan === 'complete') return { time: performance.now() - begun, artifact }
      if (response.ok && artifact.scan !== 'pending') throw new Error(`the scan ended ${artifact.scan}`)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  try {
    const first = await scan('0.1.0')
    const second = await scan('0.2.0')
    const file = first.artifact.files.find(({ path }) => path.endsWith('/lodash/package.json'))
    const content = await fetch(`${api}/files/${file?.layerSha256}?path=${file?.path}`)
    const lodash = (await content.json()) as { version: string }
    if (lodash.version !== '4.17.20') throw new Error('the file that is served is not the one that was pushed')
    return { first: first.time, second: second.time, artifact: first.artifact }
  } finally {
    await service.stop()
    await sqs.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The layers of an image through the tools that everybody has, one after the other, in milliseconds. */
async function pipe(tag: string): Promise<number> {
  const response = await fetch(`${registry}/v2/${IMAGE}/manifests/${tag}`, {
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' }
  })
  const { layers } = (await response.json()) as { layers: { digest: string }[] }
  const begun = performance.now()
  for (const { digest } of layers) {
    execFileSync('bash', [
      '-c',
      'curl -sf "$1" | gzip -dc | tar -t >/dev/null',
      'pipe',
      `${registry}/v2/${IMAGE}/blobs/${digest}`
    ])
  }
  return performance.now() - begun
}

const times = { first: [] as number[], second: [] as number[], pipe: [] as number[] }
let files = 0
for (let round = 0; round < ROUNDS; round++) {
  times.pipe.push(await pipe('0.1.0'))
  const { first, second, artifact } = await scanBoth()
  times.first.push(first)
  times.second.push(second)
  files = artifact.files.length
}
process.stdout.write(`${files} files listed\n`)
process.stdout.write(`${report('curl | gzip -dc | tar -t', times.pipe)}\n`)
process.stdout.write(`${report('push event → artifact, first version', times.first)}\n`)
process.stdout.write(`${report('push event → artifact, second version', times.second)}\n`)
