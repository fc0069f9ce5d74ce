import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type BuiltManifest, buildImage, buildLayer, pushImage } from '../fakes/image-builder.ts'
import { damage, refuse, truncateTo, when } from '../fakes/registry-misbehaviour.ts'
import { type Harness, startHarness } from './harness.ts'
import { pushService, serviceImage } from './images.ts'

const SERVICE = 'cdp-portal-frontend'
const pushEvent = (repository: string, tag: string) => ({
  detail: { result: 'SUCCESS', 'action-type': 'PUSH', 'image-tag': tag, 'repository-name': repository }
})
const taskEvent = (account: string, extra: object = {}) => ({
  id: crypto.randomUUID(),
  'detail-type': 'ECS Task State Change',
  source: 'aws.ecs',
  account,
  time: '2026-03-02T09:15:30Z',
  resources: [],
  detail: {
    taskArn: `arn:aws:ecs:eu-west-2:${account}:task/cluster/1`,
    lastStatus: 'RUNNING',
    desiredStatus: 'RUNNING',
    containers: [{ name: SERVICE, image: `host.example/${SERVICE}:0.1.0`, lastStatus: 'RUNNING' }],
    ...extra
  }
})

let service: Harness
beforeEach(async () => {
  service = await startHarness({ LAYER_MAX_BYTES: '2000000' })
})
afterEach(async () => {
  await service.close()
})

async function rejected() {
  const { body } = await service.get('/events?outcome=rejected')
  return (body as { events: { reason: string; body: string | null }[] }).events
}

/** Sends the event of a good image, and sees it become an artifact: whatever came before, the service goes on. */
async function goesOn() {
  await pushService(service.registry.url, 'still-here', '1.0.0')
  await service.send('ecr', pushEvent('still-here', '1.0.0'))
  await service.eventually(async () =>
    expect(await service.get('/deployables/still-here')).toMatchObject({ body: ['1.0.0'] })
  )
}

async function artifactOf(image: BuiltManifest) {
  await pushImage(service.registry.url, SERVICE, '0.1.0', image)
  await service.send('ecr', pushEvent(SERVICE, '0.1.0'))
  return service.eventually(async () => {
    const { status, body } = await service.get(`/artifacts/${SERVICE}/0.1.0`)
    expect(status).toBe(200)
    expect(body).not.toMatchObject({ scan: 'pending' })
    return body as { scan: string; scanError: string; files: { path: string }[] }
  })
}

describe('a message that can never succeed is kept as rejected with its reason and leaves its queue', () => {
  const cases: Record<string, [event: object | string, reason: RegExp]> = {
    'a malformed message': ['{ "detail": ', /^not JSON: /],
    'JSON that is no object': ['[1, 2]', /^not a JSON object$/],
    'an event of no known kind': [{ detail: { hello: 'world' } }, /no detail-type/],
    'an unknown account': [taskEvent('999999999'), /^unknown account 999999999/],
    'a task without a status': [taskEvent('333333333', { lastStatus: null }), /lastStatus/],
    'a task of which nothing says which it is': [taskEvent('333333333', { taskArn: null }), /names no task/],
    'an image that cannot be read': [
      taskEvent('333333333', { containers: [{ name: 'a', image: 'UPPER CASE', lastStatus: 'RUNNING' }] }),
      /UPPER CASE/
    ],
    'a push without a repository': [
      { detail: { result: 'SUCCESS', 'action-type': 'PUSH', 'image-tag': '1.0.0' }, 'detail-type': 'ECR Image Action' },
      /repository-name/
    ],
    'a repository that is a path': [pushEvent('../../etc', '1.0.0'), /no repository's name/]
  }
  for (const [name, [event, reason]] of Object.entries(cases)) {
    it(name, async () => {
      await service.send('ecs', event)
      await service.settled()
      const [kept, ...others] = await rejected()
      expect(others).toEqual([])
      expect(kept?.reason).toMatch(reason)
      expect(kept?.body).toBe(typeof event === 'string' ? event : JSON.stringify(event))
      await goesOn()
    })
  }
})

describe('what is none of our business is acknowledged and counted', () => {
  it.each([
    [
      'a push that did not succeed',
      { 'detail-type': 'ECR Image Action', detail: { ...pushEvent('a', '1.0.0').detail, result: 'FAILURE' } }
    ],
    [
      'a push without a tag',
      { 'detail-type': 'ECR Image Action', detail: { ...pushEvent('a', '1.0.0').detail, 'image-tag': '' } }
    ],
    ['a tag that is no release', pushEvent('a', 'latest')],
    ['a scan event', { 'detail-type': 'ECR Image Scan', source: 'aws.ecr', detail: {} }]
  ])('%s', async (_, event) => {
    await service.send('ecr', event)
    await service.settled()
    expect((await service.get('/events')).body).toMatchObject({ events: [{ outcome: 'ignored' }] })
    expect((await service.get('/artifacts')).body).toEqual([])
  })
})

describe('an image', () => {
  it('that is not in the registry yet is scanned once it is there', async () => {
    await service.send('ecr', pushEvent(SERVICE, '0.1.0'))
    await service.eventually(async () => {
      expect(service.registry.requests.some(({ path }) => path.includes(SERVICE))).toBe(true)
    })
    expect((await service.get('/artifacts')).body).toEqual([])
    await pushService(service.registry.url, SERVICE, '0.1.0')
    await service.eventually(async () => expect((await service.get('/deployables')).body).toEqual([SERVICE]))
  })

  it('whose registry is down is scanned once that is back, and its message is not held up', async () => {
    await pushService(service.registry.url, SERVICE, '0.1.0')
    const restore = service.registry.misbehave(refuse(503))
    await service.send('ecr', pushEvent(SERVICE, '0.1.0'))
    await service.eventually(async () => {
      expect(await service.sqs.depth(service.queues.ecr)).toEqual({ waiting: 0, inFlight: 0 })
      expect((await service.get('/events')).body).toMatchObject({ events: [{ outcome: 'done' }] })
    })
    expect((await service.get('/artifacts')).body).toEqual([])
    restore()
    await service.eventually(async () => expect((await service.get('/deployables')).body).toEqual([SERVICE]))
  })

  it.each([
    ['of a wrong digest', damage(), /are not sha256:/],
    ['that is truncated', truncateTo(100), /bytes/]
  ])('with a layer %s is known, and its scan partial', async (_, misbehaviour, reason) => {
    const image = serviceImage(SERVICE, '0.1.0')
    const application = image.layers[1]?.digest ?? ''
    service.registry.misbehave(when({ method: 'GET', path: new RegExp(application) }, misbehaviour))
    const artifact = await artifactOf(image)
    expect(artifact.scan).toBe('partial')
    expect(artifact.scanError).toMatch(reason)
    expect(artifact.files).toEqual([])
    expect((await service.get('/deployables')).body).toEqual([SERVICE])
    // What was damaged is stored nowhere: once the registry is right again, a scan reads it.
    await goesOn()
  })

  it('with a layer that inflates without end is known, and its scan partial, in bounded time', async () => {
    const bomb = buildLayer([{ path: 'zeros', content: Buffer.alloc(5_000_000) }])
    const good = buildLayer([{ path: 'app/package.json', content: '{"name":"a","version":"1.0.0"}' }])
    const artifact = await artifactOf(
      buildImage({ layers: [good, bomb], labels: { 'defra.cdp.service.name': SERVICE } })
    )
    expect(artifact.scan).toBe('partial')
    expect(artifact.scanError).toMatch(/inflates to more than 2000000 bytes/)
    expect(artifact.files).toMatchObject([{ path: 'app/package.json' }])
    await goesOn()
  })
})
