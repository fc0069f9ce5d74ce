import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const KNOWN_PORTS = [5094, 5000, 4566]

// What the story ends with: service, environment, version, running tasks; then the versions, where there are several.
const END = [
  ['bird-flu-notifications', 'dev', '0.3.0', 1],
  ['cdp-portal-backend', 'management', '1.3.0', 1],
  ['cdp-portal-backend', 'dev', '1.4.0', 1],
  ['cdp-portal-backend', 'test', '1.4.0', 1],
  ['cdp-portal-backend', 'prod', '1.3.0', 2],
  ['cdp-portal-frontend', 'dev', '0.9.1', 2],
  ['cdp-portal-frontend', 'test', '0.9.0', 1],
  ['cdp-portal-frontend', 'perf-test', '0.9.0', 1],
  ['cdp-portal-frontend', 'prod', '0.8.0', 3],
  ['cdp-user-service', 'dev', '2.3.0', 1],
  ['cdp-user-service', 'test', '2.3.0', 1],
  ['cdp-user-service', 'perf-test', '2.2.0', 1],
  ['cdp-user-service', 'prod', '2.2.0', 2],
  ['forestry-permits-api', 'dev', '2.1.0', 1, { '2.2.0': 1, '2.1.0': 1 }],
  ['forestry-permits-api', 'test', '2.1.0', 2],
  ['forestry-permits-api', 'prod', '2.1.0', 2],
  ['grants-application-frontend', 'dev', '1.1.0', 1],
  ['grants-application-frontend', 'test', '1.1.0', 1],
  ['grants-application-frontend', 'perf-test', '1.1.0', 1, { '1.1.0': 2, '1.0.0': 1 }],
  ['water-quality-service', 'dev', '3.1.0', 1],
  ['water-quality-service', 'test', '3.2.0', 1],
  ['water-quality-service', 'perf-test', '3.1.0', 1],
  ['water-quality-service', 'prod', '2.8.4', 2]
]

interface Demo {
  readonly output: () => string
  /** As the demo prints them. */
  readonly address: (what: RegExp) => string
  /** Ctrl-C, as a terminal sends it: to npm and all that it started. @returns the exit code. */
  stop(): Promise<number | null>
}

const running = new Set<ChildProcess>()
const blockers: Server[] = []

async function startDemo(): Promise<Demo> {
  const child = spawn('npm', ['run', '--silent', 'demo'], { cwd: root, detached: true })
  running.add(child)
  let output = ''
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', (code) => {
      running.delete(child)
      resolve(code)
    })
  })
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk
        if (output.includes('Ctrl-C stops it')) resolve()
      })
    }
    void ended.then((code) => reject(new Error(`the demo ended with ${code}: ${output}`)))
  })
  return {
    output: () => output,
    address: (what) => what.exec(output)?.[1] ?? '',
    stop() {
      process.kill(-(child.pid ?? 0), 'SIGINT')
      return ended
    }
  }
}

/** Whether something listens there. */
async function listens(address: string): Promise<boolean> {
  return fetch(address).then(
    () => true,
    () => false
  )
}

afterEach(() => {
  for (const child of running) process.kill(-(child.pid ?? 0), 'SIGKILL')
})

afterAll(() => {
  for (const blocker of blockers) blocker.close()
})

describe('npm run demo', () => {
  it('plays its story, shows what runs where, stops at Ctrl-C, and can run again on ports that are taken', async () => {
    const first = await startDemo()
    const api = first.address(/(http:\S+)\/whats-running-where /)
    const get = async (path: string) => (await fetch(`${api}${path}`)).json()
    const running = async (path: string) =>
      (
        (await get(path)) as {
          service: string
          environment: string
          version: string
          runningCount: number
          versions?: { version: string; count: number }[]
        }[]
      ).map(({ service, environment, version, runningCount, versions }) => [
        service,
        environment,
        version,
        runningCount,
        ...(versions === undefined ? [] : [Object.fromEntries(versions.map((one) => [one.version, one.count]))])
      ])

    expect(await running('/whats-running-where')).toEqual(END)
    const then = first.address(/whats-running-where(\?at=\S+)/)
    expect(await running(`/whats-running-where/grants-application-frontend${then}`)).toContainEqual([
      'grants-application-frontend',
      'prod',
      '1.0.0',
      1
    ])
    const services = (await get('/services')) as { serviceName: string }[]
    expect(services.map(({ serviceName }) => serviceName)).toEqual([...new Set(END.map(([service]) => service))])

    // A request that nothing has followed; one that found its deployment without a link; a one-off task; a crash; a rollback.
    const { deployments } = (await get('/deployments?size=1000')) as { deployments: Record<string, unknown>[] }
    const shown = (fields: object) => expect(deployments).toContainEqual(expect.objectContaining(fields))
    shown({ service: 'cdp-user-service', environment: 'prod', version: '2.3.0', status: 'REQUESTED', instanceCount: 2 })
    shown({ service: 'cdp-portal-backend', environment: 'test', version: '1.4.0', status: 'RUNNING', user: 'Sam Doe' })
    shown({
      service: 'cdp-user-service',
      environment: 'dev',
      status: 'STOPPED',
      stopCode: 'EssentialContainerExited',
      exitCode: 0
    })
    shown({ service: 'forestry-permits-api', environment: 'dev', version: '2.2.0', status: 'STOPPED', exitCode: 139 })
    const crashed = deployments.find(({ version, environment }) => version === '2.2.0' && environment === 'test')
    const { history } = (await get(`/deployments/${crashed?.deploymentId}`)) as {
      history: { event: string; reason: string }[]
    }
    expect(history).toContainEqual(
      expect.objectContaining({
        event: 'SERVICE_DEPLOYMENT_FAILED',
        reason: expect.stringMatching(/rolling back to deploymentId ecs-svc\/\d{19}$/)
      })
    )

    const artifacts = (await get('/artifacts')) as { repo: string; serviceName: string | null; scan: string }[]
    expect(artifacts).toHaveLength(17)
    expect(artifacts.filter(({ scan }) => scan !== 'complete').map(({ repo, scan }) => [repo, scan])).toEqual([
      ['bird-flu-notifications', 'partial']
    ])
    expect(artifacts.filter(({ serviceName }) => serviceName === null).map(({ repo }) => repo)).toEqual([
      'cdp-otel-collector'
    ])
    const rejected = (await get('/events?outcome=rejected')) as { events: { reason: string }[] }
    expect(rejected.events.map(({ reason }) => reason)).toEqual([
      expect.stringContaining('not JSON'),
      expect.stringContaining('unknown account 999999999')
    ])

    const registry = `http://${first.address(/cdp scan (\S+?)\//)}/v2/`
    const sqs = `${first.address(/--endpoint-url (\S+)/)}/health`
    const store = first.address(/(\S+cdp\.db) /)
    expect([await listens(registry), await listens(sqs), existsSync(store)]).toEqual([true, true, true])
    expect(await first.stop()).toBe(0)
    expect(first.output()).toMatch(/Stopped\.\n$/)
    expect([await listens(api), await listens(registry), await listens(sqs), existsSync(store)]).toEqual([
      false,
      false,
      false,
      false
    ])

    for (const port of KNOWN_PORTS) {
      const blocker = createServer()
      // Taken by another already is taken, too.
      await new Promise<void>((resolve) => blocker.on('error', () => resolve()).listen(port, '127.0.0.1', resolve))
      blockers.push(blocker)
    }
    const second = await startDemo()
    expect(second.output().match(/^Port (\d+) is taken: .*$/gm)).toHaveLength(KNOWN_PORTS.length)
    expect(second.address(/(http:\S+)\/whats-running-where /)).not.toContain(':5094')
    const again = await fetch(`${second.address(/(http:\S+)\/whats-running-where /)}/whats-running-where`)
    expect(await again.json()).toHaveLength(END.length)
    expect(await second.stop()).toBe(0)
  }, 120_000)
})
