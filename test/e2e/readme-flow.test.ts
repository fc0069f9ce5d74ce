import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requirePart } from '../parts.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const registry = requirePart('docker-registry', process.env.DOCKER_REGISTRY_URL)
const PATIENCE_MS = 30_000

/** The commands of the README's flow, a block for each terminal. */
function terminals(): string[] {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const section = /^## The flow you know\n(.*?)^## /ms.exec(readme)?.[1] ?? ''
  return [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, commands = '']) => commands)
}

describe.skipIf(registry === null)('the flow of the README', () => {
  /** A folder like a clone, so that what the flow writes is not written into this one. */
  let folder: string
  /** The ports that the README names, and those that are used in their place. */
  const ports = new Map<string, string>([[':5000', `:${new URL(registry ?? 'http://localhost').port}`]])
  const children: ChildProcess[] = []

  // What the environment sets wins over `.env`: the port is a free one.
  const env = () => ({ PATH: process.env.PATH, HOME: folder, PORT: '0' })
  const substituted = (commands: string) =>
    [...ports].reduce((text, [known, used]) => text.replaceAll(known, used), commands)

  /** Runs the commands of a terminal, and waits until they say what is looked for. */
  async function open(commands: string, wanted: RegExp): Promise<string> {
    // The registry is there already.
    const own = commands.replace(/^docker run .*\n/m, '')
    const child = spawn('bash', ['-euc', substituted(own)], { cwd: folder, env: env(), detached: true })
    children.push(child)
    let output = ''
    return new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk: Buffer) => {
          output += chunk
          const found = wanted.exec(output)?.[1]
          if (found !== undefined) resolve(found)
        })
      }
      child.on('close', (code) => reject(new Error(`ended with ${code}: ${output}`)))
    })
  }

  async function run(command: string): Promise<string> {
    const { stdout } = await promisify(execFile)('bash', ['-euc', substituted(command)], { cwd: folder, env: env() })
    return stdout
  }

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'cdp-readme-'))
    for (const name of ['bin', 'demo', 'node_modules', 'package.json', 'scripts', 'src', 'test']) {
      symlinkSync(join(ROOT, name), join(folder, name))
    }
  })

  afterAll(async () => {
    for (const child of children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = new Promise((resolve) => child.once('close', resolve))
      process.kill(-(child.pid ?? 0), 'SIGTERM')
      await ended
    }
    rmSync(folder, { recursive: true, force: true })
  })

  it('ends with the image running everywhere', async () => {
    const [first = '', second = '', third = ''] = terminals()
    expect(first).toMatch(/^docker run .*\nnpm run sqs\n$/)
    ports.set(':4566', await open(first, /SQS listens on http:\/\/127\.0\.0\.1(:\d+)/))
    ports.set(':5094', await open(second, /"address":"http:\/\/127\.0\.0\.1(:\d+)","message":"listening"/))

    const commands = third.trim().split('\n')
    const curl = commands.pop() ?? ''
    for (const command of commands) await run(command)

    const environments = ['snd', 'infra-dev', 'management', 'dev', 'test', 'perf-test', 'prod']
    const expected = environments.map((environment) => ({
      environment,
      version: '0.1.0',
      runningCount: 1,
      status: 'RUNNING'
    }))
    const deadline = Date.now() + PATIENCE_MS
    for (;;) {
      const answer = JSON.parse(await run(curl)) as Record<string, unknown>[]
      // The service may have to be waited for; what it says in the end is looked at.
      if (answer.length < expected.length && Date.now() < deadline) continue
      expect(answer).toMatchObject(expected)
      expect(answer).toHaveLength(expected.length)
      break
    }
  }, 120_000)
})
