import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Harness, startHarness } from '../e2e/harness.ts'
import { buildImage, buildIndex, buildLayer, pushImage, writeLayout } from '../fakes/image-builder.ts'
import { type FakeRegistry, startRegistry } from '../fakes/registry.ts'
import { startServer } from '../fakes/server.ts'

const cdp = fileURLToPath(new URL('../../bin/cdp.mjs', import.meta.url))
const COMMANDS = ['serve', 'scan', 'replay', 'fake-push', 'fake-deployments']

/** Away from any `.env`. */
let folder: string
let registry: FakeRegistry
const children: ChildProcess[] = []

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = spawn(process.execPath, [cdp, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, REGISTRY_URL: registry.url, ...env }
  })
  children.push(child)
  return child
}

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

async function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return ended(start(args, env))
}

async function ended(child: ChildProcess): Promise<Ended> {
  const [stdout = '', stderr = ''] = await Promise.all([child.stdout, child.stderr].map(textOf))
  const { exitCode: code, signalCode: signal } = child
  if (code !== null || signal !== null) return { code, signal, stdout, stderr }
  return new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal, stdout, stderr })))
}

async function textOf(stream: AsyncIterable<Buffer> | null): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream ?? []) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

const lodash = { path: 'app/node_modules/lodash/package.json', content: '{"name":"lodash","version":"4.17.20"}' }
const labels = { 'defra.cdp.service.name': 'portal', 'defra.cdp.git.repo.url': 'https://git.example/portal' }
const base = buildLayer([{ path: 'etc/os-release', content: 'ID=debian' }])
const good = buildImage({ layers: [base, buildLayer([lodash])], labels })
const broken = buildImage({ layers: [base, buildLayer([{ path: 'app/package-lock.json', content: '{"cut' }])], labels })

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cdp-'))
  registry = await startRegistry()
  await pushImage(registry.url, 'portal', '1.0.0', good)
  await pushImage(registry.url, 'portal', '1.1.0', broken)
})

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

afterAll(async () => {
  await registry.close()
  rmSync(folder, { recursive: true })
})

describe('cdp', () => {
  it.each([[], ...COMMANDS.map((command) => [command])])(
    'answers --help and --version on stdout, with 0: %j',
    async (...command) => {
      const help = await cli([...command, '--help'])
      expect(help).toMatchObject({ code: 0, stderr: '' })
      expect(help.stdout).toMatch(new RegExp(`^Usage: cdp ${command.join('')}`))
      const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
      expect(await cli([...command, '--version'])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
    }
  )

  it.each([
    [['scna'], /unknown command 'scna' \(Did you mean scan\?\)/],
    [['scan'], /missing required argument 'image'/],
    [['scan', 'no-tag'], /neither host\/name:tag/],
    [['scan', 'portal:1.0.0', '--platform', 'linux'], /not os\/architecture/],
    [['scan', 'portal:1.0.0', '--jsn'], /unknown option '--jsn'/],
    [['fake-push', 'UPPER', '1.0.0'], /no repository's name/],
    [['fake-deployments', 'portal', 'a b'], /no tag/],
    [['fake-push', 'portal', '1.0.0'], /ECR_EVENTS_QUEUE_URL is not set/],
    [['fake-deployments', 'portal', '1.0.0'], /ECS_EVENTS_QUEUE_URL is not set/]
  ])('%j is refused in one line on stderr, with 2', async (args, reason) => {
    const { code, stdout, stderr } = await cli(args)
    expect(stderr).toMatch(/^cdp: [^\n]*\n$/)
    expect(stderr).toMatch(reason)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })

  it('names every wrong setting, with 2', async () => {
    const { code, stderr } = await cli(['scan', 'portal:1.0.0'], { PORT: 'x', REGISTRY_URL: 'y' })
    expect(stderr).toMatch(/^cdp: The settings cannot be used:\n {2}PORT .*\n {2}REGISTRY_URL .*\n$/)
    expect(code).toBe(2)
  })
})

describe('cdp scan', () => {
  it('shows an image of a registry, for people', async () => {
    const { code, stdout, stderr } = await cli(['scan', `${registry.host}/portal:1.0.0`])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const line of [
      `image     ${registry.host}/portal:1.0.0`,
      `digest    ${good.digest}`,
      'platform  linux/amd64',
      'service   portal',
      'scan      complete',
      '  defra.cdp.service.name  portal',
      'layers (2, the lowest first):',
      'npm packages (1):',
      `  lodash  4.17.20  installed  ${lodash.path}`,
      `  ${lodash.path}  37 B`
    ]) {
      expect(stdout.split('\n')).toContain(line)
    }
  })

  it('writes JSON in the shape that is documented', async () => {
    const { code, stdout } = await cli(['scan', '--json', 'portal:1.0.0'])
    expect(code).toBe(0)
    const [, layer] = good.layers
    expect(JSON.parse(stdout)).toEqual({
      image: 'portal:1.0.0',
      digest: good.digest,
      manifestDigest: good.digest,
      configDigest: good.config.digest,
      mediaType: good.mediaType,
      platform: 'linux/amd64',
      created: '2020-01-01T00:00:00.000Z',
      serviceName: 'portal',
      githubUrl: 'https://git.example/portal',
      labels,
      scan: 'complete',
      scannerVersion: expect.any(Number),
      problems: [],
      layers: good.layers.map(({ digest, mediaType, size }) => ({
        digest,
        mediaType,
        size,
        diffId: expect.stringMatching(/^sha256:/),
        uncompressedSize: expect.any(Number)
      })),
      packages: [
        {
          purl: 'pkg:npm/lodash@4.17.20',
          type: 'npm',
          namespace: null,
          name: 'lodash',
          version: '4.17.20',
          evidence: 'installed',
          locations: [{ path: lodash.path, layerSha256: layer!.digest }]
        }
      ],
      files: [{ path: lodash.path, size: 37, layerSha256: layer!.digest }]
    })
  })

  it('reads an image by its digest, an OCI layout and an OCI archive alike', async () => {
    const layout = join(folder, 'layout')
    await writeLayout(layout, good, '1.0.0')
    const archive = join(folder, 'archive.tar')
    execFileSync('tar', ['-cf', archive, '-C', layout, '.'])
    const places = [`portal@${good.digest}`, layout, `${layout}:1.0.0`, archive, `oci-archive:${archive}:1.0.0`]
    const read = await Promise.all(places.map((place) => cli(['scan', '--json', place])))
    expect(
      read.map(({ code, stdout }) => [code, JSON.parse(stdout).digest, JSON.parse(stdout).packages.length])
    ).toEqual(places.map(() => [0, good.digest, 1]))
  })

  it('asks which image is meant where a layout holds several', async () => {
    const layout = join(folder, 'several')
    await writeLayout(layout, good, '1.0.0')
    await writeLayout(layout, broken, '1.1.0')
    const { code, stderr } = await cli(['scan', layout])
    expect(stderr).toBe(`cdp: ${layout} holds several images, name one after a colon: 1.0.0, 1.1.0\n`)
    expect(code).toBe(1)
  })

  it('chooses the platform of an index that it is told', async () => {
    const arm = buildImage({ layers: [base], platform: { os: 'linux', architecture: 'arm64' } })
    await pushImage(registry.url, 'many', '1.0.0', buildIndex([good, arm]))
    const { stdout } = await cli(['scan', '--json', '--platform', 'linux/arm64', 'many:1.0.0'])
    expect(JSON.parse(stdout)).toMatchObject({ platform: 'linux/arm64', manifestDigest: arm.digest })
    const missing = await cli(['scan', '--platform', 'linux/s390x', 'many:1.0.0'])
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('has no image for linux/s390x') })
  })

  it.each([
    ['an image that is missing', 'portal:9.9.9', /was not found/],
    ['a path that is missing', './nothing:1.0.0', /\.\/nothing does not exist/],
    ['what is no image', './text', /neither an OCI layout nor an image archive/]
  ])('ends with 1 and one line on stderr for %s', async (_what, image, reason) => {
    writeFileSync(join(folder, 'text'), 'text')
    const { code, stdout, stderr } = await cli(['scan', image])
    expect(stderr).toMatch(/^cdp: [^\n]*\n$/)
    expect(stderr).toMatch(reason)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  })

  it('shows what it could read of an image, says that it is partial, and ends with 1', async () => {
    const { code, stdout, stderr } = await cli(['scan', 'portal:1.1.0'])
    expect(stdout).toContain('scan      partial')
    expect(stdout).toMatch(/problems \(1\):\n {2}app\/package-lock\.json: /)
    expect(stderr).toMatch(/^cdp: the scan of portal:1\.1\.0 is partial: app\/package-lock\.json: [^\n]*\n$/)
    expect(code).toBe(1)
  })

  it('sends the credentials of the settings to the registry of the settings, and to no other', async () => {
    const asking = await startServer(() => ({
      status: 401,
      headers: { 'www-authenticate': 'Basic realm="test"' },
      body: Buffer.from('{}')
    }))
    try {
      const credentials = { REGISTRY_USERNAME: 'ann', REGISTRY_PASSWORD: 'secret' }
      const sent = () => asking.requests.splice(0).filter(({ headers }) => headers.authorization !== undefined).length
      const other = await cli(['scan', `${asking.host}/portal:1.0.0`], credentials)
      expect(other).toMatchObject({ code: 1, stdout: '' })
      expect(sent()).toBe(0)
      const own = await cli(['scan', `${asking.host}/portal:1.0.0`], { ...credentials, REGISTRY_URL: asking.url })
      expect(own).toMatchObject({ code: 1, stdout: '' })
      expect(sent()).toBeGreaterThan(0)
      expect(other.stderr + own.stderr).not.toContain('secret')
    } finally {
      await asking.close()
    }
  })

  it('ends at Ctrl-C, whatever it waits for', async () => {
    let asked = () => {}
    const waiting = new Promise<void>((resolve) => {
      asked = resolve
    })
    const silent = await startServer(() => {
      asked()
      return new Promise(() => {})
    })
    try {
      const child = start(['scan', `${silent.host}/portal:1.0.0`])
      const end = ended(child)
      await waiting
      child.kill('SIGINT')
      expect(await end).toMatchObject({ signal: 'SIGINT', stdout: '', stderr: '' })
    } finally {
      await silent.close()
    }
  })
})

describe('the commands for a service that runs', () => {
  let harness: Harness
  let queues: NodeJS.ProcessEnv

  beforeAll(async () => {
    harness = await startHarness()
    queues = {
      ECS_EVENTS_QUEUE_URL: harness.queues.ecs,
      ECR_EVENTS_QUEUE_URL: harness.queues.ecr,
      AWS_ENDPOINT_URL_SQS: harness.sqs.endpoint
    }
    for (const version of ['0.1.0', '0.2.0']) await pushImage(harness.registry.url, 'portal', version, good)
  })

  afterAll(() => harness.close())

  it('fake-push sends one event, which is scanned, and prints it', async () => {
    for (const version of ['0.1.0', '0.2.0']) {
      const { code, stdout, stderr } = await cli(['fake-push', 'portal', version], queues)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(JSON.parse(stdout)).toMatchObject({
        'detail-type': 'ECR Image Action',
        detail: { 'repository-name': 'portal', 'image-tag': version }
      })
    }
    await harness.eventually(async () => {
      expect((await harness.get('/deployables/portal')).body).toEqual(['0.2.0', '0.1.0'])
    })
  })

  it('fake-deployments runs one instance in every environment, and the next call replaces it everywhere', async () => {
    const environments = ['snd', 'infra-dev', 'management', 'dev', 'test', 'perf-test', 'prod']
    for (const version of ['0.1.0', '0.2.0', '0.1.0']) {
      const { code, stdout } = await cli(['fake-deployments', 'portal', version], queues)
      expect(code).toBe(0)
      expect(stdout.trim().split('\n')).toHaveLength(environments.length)
      await harness.eventually(async () => {
        const { body } = await harness.get('/whats-running-where/portal')
        const shown = (
          body as { environment: string; version: string; runningCount: number; versions?: unknown }[]
        ).map(({ environment, version, runningCount, versions }) => ({ environment, version, runningCount, versions }))
        expect(shown).toEqual(
          environments.map((environment) => ({ environment, version, runningCount: 1, versions: undefined }))
        )
      })
    }
  })

  it('say in one line that the queue cannot be reached or is not there, with 1', async () => {
    const closed = { ...queues, AWS_ENDPOINT_URL_SQS: 'http://127.0.0.1:9' }
    const missing = { ...queues, ECR_EVENTS_QUEUE_URL: `${harness.sqs.endpoint}/000000000000/nothing` }
    for (const env of [closed, missing]) {
      const { code, stdout, stderr } = await cli(['fake-push', 'portal', '0.1.0'], env)
      expect(stderr).toMatch(/^cdp: http[^\n]* took no event: [^\n]+\n$/)
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    }
  })
})

describe('cdp replay', () => {
  it('refuses a store that is being served; once that has stopped, it rebuilds', async () => {
    const store = { STORE_URL: `sqlite:${folder}/served.db`, PORT: '0' }
    const serving = start(['serve'], store)
    await new Promise<void>((resolve) => {
      serving.stdout?.on('data', (chunk: Buffer) => chunk.includes('listening') && resolve())
    })
    const refused = await cli(['replay'], store)
    expect(refused).toMatchObject({ code: 2, stdout: '' })
    expect(refused.stderr).toMatch(/^cdp: [^\n]* is being served \([^\n]*\): stop that first\n$/)
    const stopped = new Promise((resolve) => serving.once('exit', resolve))
    serving.kill('SIGTERM')
    expect(await stopped).toBe(0)
    expect(await cli(['replay'], store)).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/^0 events replayed/)
    })
  })
})
