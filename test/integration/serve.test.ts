import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { buildImage, buildLayer, pushImage } from '../fakes/image-builder.ts'
import { startRegistry } from '../fakes/registry.ts'
import { stallAfter, when } from '../fakes/registry-misbehaviour.ts'
import { startSqs } from '../fakes/sqs.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const BIN = join(ROOT, 'bin/cdp.mjs')
/** The longest that an orchestrator has to wait for us. */
const END_WITHIN_MS = 25_000

let folder: string
let children: ChildProcess[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cdp-serve-'))
  children = []
})
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

function start(
  environment: NodeJS.ProcessEnv,
  command: readonly string[] = [process.execPath, BIN, 'serve'],
  cwd = folder
) {
  const [program = '', ...rest] = command
  const child = spawn(program, rest, { cwd, env: { PATH: process.env.PATH, HOME: folder, ...environment } })
  children.push(child)
  let output = ''
  let errors = ''
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (errors += chunk))
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, output, errors }))
  const lines = () =>
    output.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Record<string, string>] : []))
  /** Waits for a log line. */
  async function logged(message: string): Promise<Record<string, string>> {
    for (;;) {
      const line = lines().find((one) => one.message === message)
      if (line !== undefined) return line
      if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}: ${output}${errors}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  return { child, ended, lines, logged }
}

describe('npm start', { timeout: 60_000 }, () => {
  it('with nothing set keeps SQLite in ./data, reads no queues, and says what is off and how to turn it on', async () => {
    const service = start({ PORT: '0' })
    await service.logged('listening')
    expect(existsSync(join(folder, 'data/cdp.db'))).toBe(true)
    const messages = service.lines().map(({ message }) => message)
    expect(messages).toContain('no ECS events are read: set ECS_EVENTS_QUEUE_URL to turn that on')
    expect(messages).toContain('no ECR events are read: set ECR_EVENTS_QUEUE_URL to turn that on')
    service.child.kill('SIGTERM')
    expect(await service.ended).toMatchObject({ code: 0, errors: '' })
  })

  it('with wrong settings names all faults in one message, and exits with 2', async () => {
    const { code, output, errors } = await start({ PORT: 'ninety', STORE_URL: 'oracle:x', LOG_LEVEL: 'loud' }).ended
    expect(code).toBe(2)
    expect(output).toBe('')
    for (const name of ['PORT', 'STORE_URL', 'LOG_LEVEL']) expect(errors).toContain(name)
  })

  it('on a port that is taken says so, and exits with 2', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    const { code, errors } = await start({ PORT: String(port) }).ended
    other.close()
    expect(code).toBe(2)
    expect(errors).toContain(String(port))
    expect(errors.trim().split('\n')).toHaveLength(1)
  })

  it('with a store that cannot be opened says so, and exits with 2', async () => {
    const { code, errors } = await start({ PORT: '0', STORE_URL: 'sqlite:/dev/null/cdp.db' }).ended
    expect(code).toBe(2)
    expect(errors).toBe('the folder of the database, /dev/null, cannot be made\n')
  })
})

describe('SIGTERM', { timeout: 60_000 }, () => {
  it('to the process of npm itself ends the service in order', async () => {
    const service = start({ PORT: '0', STORE_URL: `sqlite:${folder}/cdp.db` }, ['npm', 'start'], ROOT)
    await service.logged('listening')
    service.child.kill('SIGTERM')
    await service.ended
    expect(service.lines().map(({ message }) => message)).toEqual(expect.arrayContaining(['stopping', 'stopped']))
  })

  it('while a scan hangs and a receive waits gives the job back, and exits with 0 in time', async () => {
    const registry = await startRegistry()
    const sqs = await startSqs()
    try {
      const queue = await sqs.createQueue('ecr-push-events')
      const layer = buildLayer([{ path: 'app/package.json', content: '{}' }])
      await pushImage(registry.url, 'slow', '1.0.0', buildImage({ layers: [layer] }))
      registry.misbehave(when({ method: 'GET', path: new RegExp(layer.digest) }, stallAfter(10)))
      const environment = {
        PORT: '0',
        STORE_URL: `sqlite:${folder}/cdp.db`,
        REGISTRY_URL: registry.url,
        ECR_EVENTS_QUEUE_URL: queue,
        AWS_ENDPOINT_URL_SQS: sqs.endpoint
      }
      const service = start(environment)
      await service.logged('listening')
      const push = { result: 'SUCCESS', 'action-type': 'PUSH', 'image-tag': '1.0.0', 'repository-name': 'slow' }
      await sqs.send(queue, [JSON.stringify({ detail: push })])
      while (!registry.requests.some(({ path }) => path.includes(layer.digest))) {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      const told = Date.now()
      service.child.kill('SIGTERM')
      expect(await service.ended).toMatchObject({ code: 0 })
      expect(Date.now() - told).toBeLessThan(END_WITHIN_MS)

      const { createSqliteStore } = await import('../../src/store/sqlite/sqlite.ts')
      const store = createSqliteStore(join(folder, 'cdp.db'))
      expect((await store.scanJobs(undefined, { offset: 0, limit: 10 })).rows).toMatchObject([
        { state: 'queued', attempts: 0, leaseOwner: null }
      ])
      expect(await store.leases('', Date.now())).toEqual([])
      await store.close()
    } finally {
      await registry.close()
      await sqs.close()
    }
  })
})
