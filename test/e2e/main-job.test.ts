import { readdirSync, readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { buildImage, buildLayer, pushImage } from '../fakes/image-builder.ts'
import { sampleEnvironments } from './environments.ts'
import { type Harness, startHarness } from './harness.ts'
import { pushService } from './images.ts'

const SERVICE = 'cdp-portal-frontend'
const FIXTURES = new URL('../fixtures/events/', import.meta.url)
const samples = readdirSync(FIXTURES)
  .sort()
  .map((name) => ({ name, body: readFileSync(new URL(name, FIXTURES), 'utf8') }))

let service: Harness
beforeEach(async () => {
  service = await startHarness()
})
afterEach(async () => {
  await service.close()
})

const queueOf = (name: string) => (name.startsWith('ecs') ? 'ecs' : 'ecr')
const pushEvent = (repository: string, tag: string) => ({
  detail: { result: 'SUCCESS', 'action-type': 'PUSH', 'image-tag': tag, 'repository-name': repository }
})

/** Everything that the API says, without the times at which this run did its work. */
async function answers() {
  const paths = [
    '/services',
    `/services/${SERVICE}`,
    '/artifacts',
    `/artifacts/${SERVICE}/0.1.0`,
    '/deployables',
    `/deployables/${SERVICE}`,
    '/deployments',
    '/squashed-deployments',
    '/deployments/1f1f3f0e-7d6b-4a51-9a0e-6c4c2b9d8e77',
    '/whats-running-where',
    '/whats-running-where?at=2026-03-02T10:00:00Z'
  ]
  const all = await Promise.all(paths.map(async (path) => [path, await service.get(path)] as const))
  const text = JSON.stringify(Object.fromEntries(all), (name, value) => (name === 'created' ? 'then' : value))
  return JSON.parse(text) as Record<string, { status: number; body: unknown }>
}

describe('the main job', () => {
  it('an image that is pushed becomes an artifact, with its files listed and served', async () => {
    await pushService(service.registry.url, SERVICE, '0.1.0')
    await service.send('ecr', pushEvent(SERVICE, '0.1.0'))
    await service.settled()
    const { body } = await service.get(`/artifacts/${SERVICE}/0.1.0`)
    expect(body).toMatchObject({
      repo: SERVICE,
      tag: '0.1.0',
      serviceName: SERVICE,
      githubUrl: `https://github.com/DEFRA/${SERVICE}`,
      semVer: 65536,
      scan: 'complete',
      scanError: null
    })
    const { files } = body as { files: { fileName: string; path: string; layerSha256: string }[] }
    expect(files.map(({ path }) => path)).toEqual([
      'home/node/app/node_modules/lodash/package.json',
      'home/node/app/package.json'
    ])
    const file = await service.get(`/files/${files[0]?.layerSha256}?path=${files[0]?.path}`)
    expect(file).toEqual({ status: 200, body: { name: 'lodash', version: '4.17.20' } })
    expect((await service.get('/deployables')).body).toEqual([SERVICE])
  })

  it('a file that is a hard link is listed and served under its own name, and one whose content is lost is said to be', async () => {
    const below = buildLayer([
      { path: 'a/package.json', content: '{"name":"a","version":"1.0.0"}' },
      { path: 'b/package.json', type: 'hardlink', linkTarget: 'a/package.json' },
      { path: 'store/4f3c', content: '{"name":"c","version":"1.0.0"}' }
    ])
    const above = buildLayer([
      { path: 'a/package.json', content: '{"name":"a","version":"2.0.0"}' },
      { path: 'd/package.json', type: 'hardlink', linkTarget: 'b/package.json' },
      { path: 'c/package.json', type: 'hardlink', linkTarget: 'store/4f3c' }
    ])
    await pushImage(service.registry.url, SERVICE, '0.1.0', buildImage({ layers: [below, above] }))
    await service.send('ecr', pushEvent(SERVICE, '0.1.0'))
    await service.settled()
    const { body } = await service.get(`/artifacts/${SERVICE}/0.1.0`)
    const artifact = body as { scan: string; scanError: string; files: { path: string; layerSha256: string }[] }
    const contents = await Promise.all(
      artifact.files.map(async ({ path, layerSha256 }) => {
        const file = await service.get(`/files/${layerSha256}?path=${path}`)
        return [path, layerSha256 === above.digest ? 'above' : 'below', (file.body as { version: string }).version]
      })
    )
    expect(contents).toEqual([
      ['a/package.json', 'above', '2.0.0'],
      ['b/package.json', 'below', '1.0.0'],
      ['d/package.json', 'above', '1.0.0']
    ])
    expect(artifact.scan).toBe('partial')
    expect(artifact.scanError).toBe('c/package.json: its content was not kept, since it is a link to store/4f3c')
  })

  it('an ECS event that comes before its image shows up as soon as the image is scanned', async () => {
    const running = samples.find(({ name }) => name === 'ecs-task-running.json')?.body ?? ''
    await service.send('ecs', running)
    await service.settled()
    expect((await service.get('/whats-running-where')).body).toEqual([])
    await pushService(service.registry.url, SERVICE, '0.1.0')
    await service.send('ecr', pushEvent(SERVICE, '0.1.0'))
    await service.settled()
    expect((await service.get('/whats-running-where')).body).toMatchObject([
      { service: SERVICE, environment: 'dev', version: '0.1.0', status: 'RUNNING', runningCount: 1 }
    ])
  })

  it('two versions in any number of environments: the older sender of fake deployments', async () => {
    for (const version of ['0.1.0', '0.2.0']) {
      await pushService(service.registry.url, SERVICE, version)
      await service.send('ecr', pushEvent(SERVICE, version))
    }
    await service.settled()
    const fake = (account: string, version: string, at: string) => ({
      version: '0',
      id: '12345678-1234-1234-1234-111122223333',
      'detail-type': 'ECS Task State Change',
      source: 'aws.ecs',
      account,
      time: at,
      region: 'eu-west-2',
      resources: ['arn:aws:ecs:eu-west-2:506190012364:task/infra-dev-ecs-public/3ba3b9d6'],
      detail: {
        desiredStatus: 'RUNNING',
        lastStatus: 'RUNNING',
        taskDefinitionArn: `arn:aws:ecs:eu-west-2:506190012364:task-definition/${crypto.randomUUID()}`,
        containers: [
          {
            name: 'FargateApp',
            image: `094954420758.dkr.ecr.eu-west-2.amazonaws.com/${SERVICE}:${version}`,
            imageDigest: `sha256:${'b49b538e'.repeat(8)}`,
            lastStatus: 'RUNNING'
          }
        ]
      }
    })
    for (const [index, version] of ['0.1.0', '0.2.0'].entries()) {
      const at = `2026-03-02T10:0${index}:00Z`
      await service.send('ecs', ...sampleEnvironments.map(([account]) => fake(account, version, at)))
    }
    await service.settled()
    const { body } = await service.get('/whats-running-where')
    const seen = (body as { environment: string; version: string; runningCount: number; versions?: unknown }[]).map(
      ({ environment, version, runningCount, versions }) => ({ environment, version, runningCount, versions })
    )
    expect(seen).toEqual(
      sampleEnvironments.map(([, environment]) => ({
        environment,
        version: '0.2.0',
        runningCount: 1,
        versions: undefined
      }))
    )
  })
})

describe('every sample event', () => {
  const orders = {
    'in order': samples,
    'in reverse order': samples.toReversed(),
    'each twice': samples.flatMap((sample) => [sample, sample])
  }
  const expected = {
    '/deployables': { status: 200, body: [SERVICE] },
    '/whats-running-where': { status: 200, body: [] },
    '/whats-running-where?at=2026-03-02T10:00:00Z': {
      status: 200,
      body: [
        {
          deploymentId: '1f1f3f0e-7d6b-4a51-9a0e-6c4c2b9d8e77',
          environment: 'dev',
          service: SERVICE,
          version: '0.1.0',
          user: 'Sam Doe',
          userId: 'n/a',
          deployedAt: '2026-03-02T09:15:28.004Z',
          status: 'RUNNING',
          ecsSvcDeploymentId: 'ecs-svc/8142337706195823441',
          cpu: '1024',
          memory: '2048',
          runningCount: 1
        }
      ]
    },
    '/deployments': {
      status: 200,
      body: { deployments: [{ status: 'STOPPED', instanceCount: null }], page: 1, pageSize: 20, totalPages: 1 }
    }
  }

  let first: Awaited<ReturnType<typeof answers>> | null = null
  for (const [name, order] of Object.entries(orders)) {
    it(`${name} ends in the same answers`, async () => {
      await pushService(service.registry.url, SERVICE, '0.1.0')
      for (const sample of order) {
        await service.send(queueOf(sample.name), sample.body)
        await service.settled()
      }
      const all = await answers()
      expect(all).toMatchObject(expected)
      first ??= all
      expect(all).toEqual(first)
      const { body } = await service.get('/events?size=100')
      const outcomes = (body as { events: { outcome: string }[] }).events.map(({ outcome }) => outcome)
      expect(outcomes).not.toContain('rejected')
    })
  }
})
