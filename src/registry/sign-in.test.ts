import { Agent } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FakeRegistry, type Misbehaviour, startRegistry } from '../../test/fakes/registry.ts'
import {
  createTokenIssuer,
  cutAfter,
  redirectTo,
  refuse,
  requireBasic,
  requireBearer,
  times,
  when
} from '../../test/fakes/registry-misbehaviour.ts'
import { type FakeServer, startServer } from '../../test/fakes/server.ts'
import { putImage, tinyImage } from '../../test/fakes/tiny-image.ts'
import { createRegistry, type Registry, type RegistryOptions } from './client.ts'
import { createEcrTokens } from './ecr.ts'
import type { RegistryError } from './errors.ts'
import { defaultLimits } from './limits.ts'
import { createSignIn, tokenServer } from './sign-in.ts'
import { createTransport } from './transport.ts'

const credentials = { username: 'user', password: 'pass:word' }
const basic = `Basic ${Buffer.from('user:pass:word').toString('base64')}`
const image = tinyImage({ layers: ['the first layer'] })
const layer = image.layers[0]!

let fake: FakeRegistry
let clients: Registry[]
let others: FakeServer[]
let now: number

beforeEach(async () => {
  fake = await startRegistry()
  clients = []
  others = []
  now = 1_000_000
  putImage(fake, 'service', '1.0.0', image)
  putImage(fake, 'other', '1.0.0', image)
})

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()))
  await Promise.all([fake, ...others].map((server) => server.close()))
})

function client(options: Partial<RegistryOptions> = {}): Registry {
  const clock = {
    now: () => now,
    sleep: async (ms: number) => {
      now += ms
    }
  }
  const ecrToken = async () => Promise.reject(new Error('only an ECR host may ask for this'))
  const created = createRegistry({ url: fake.url, clock, ecrToken, ...options })
  clients.push(created)
  return created
}

async function start(answer: Parameters<typeof startServer>[0], host?: string): Promise<FakeServer> {
  const server = await startServer(answer, host === undefined ? {} : { host })
  others.push(server)
  return server
}

async function read(blobs: AsyncIterable<Uint8Array>): Promise<string> {
  return Buffer.concat(await Array.fromAsync(blobs)).toString()
}

function sent(server: FakeServer = fake): (string | undefined)[] {
  return server.requests.map(({ headers }) => headers.authorization)
}

/** Tokens from a server of its own. */
async function bearer(options: Parameters<typeof createTokenIssuer>[0] = {}) {
  const tokens = createTokenIssuer({ now: () => now, ...options })
  const server = await start(tokens.issue)
  return { tokens, server, require: requireBearer(tokens, `${server.url}/token`) }
}

describe('a registry that asks for nothing', () => {
  it('is sent no credential, and no ping', async () => {
    await client({ credentials }).image('service').manifest('1.0.0')
    expect(fake.requests.map(({ path }) => path)).toEqual(['/v2/service/manifests/1.0.0'])
    expect(sent()).toEqual([undefined])
  })
})

describe('a registry that asks for Basic credentials', () => {
  beforeEach(() => {
    fake.misbehave(requireBasic(credentials))
  })

  it('gets them, and from then on at once', async () => {
    const source = client({ credentials }).image('service')
    await source.manifest('1.0.0')
    expect(await read(source.blob(layer))).toBe('the first layer')
    expect(sent()).toEqual([undefined, basic, basic])
  })

  it('is unauthorized without any', async () => {
    await expect(client().image('service').manifest('1.0.0')).rejects.toMatchObject({
      code: 'unauthorized',
      message: `${fake.host} asks for a user name and password, and none are set`
    })
  })

  it('is unauthorized with wrong ones, which the error does not show', async () => {
    const wrong = client({ credentials: { username: 'user', password: 'wrong' } })
    for (let time = 0; time < 2; time++) {
      const error = await wrong
        .image('service')
        .manifest('1.0.0')
        .catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'unauthorized' })
      expect(String(error)).not.toContain('wrong')
    }
    expect(sent()).toHaveLength(3)
  })
})

describe('a registry that asks for a token', () => {
  it('gets one of its token server, which gets the credentials', async () => {
    const { server, require } = await bearer({ login: credentials })
    fake.misbehave(require)
    const source = client({ credentials }).image('service')
    await source.manifest('1.0.0')
    expect(await read(source.blob(layer))).toBe('the first layer')
    expect(server.requests.map(({ path }) => path)).toEqual([
      '/token?service=fake-registry&scope=repository%3Aservice%3Apull'
    ])
    expect(sent(server)).toEqual([basic])
    expect(sent()).toEqual([undefined, expect.stringMatching(/^Bearer /), expect.stringMatching(/^Bearer /)])
  })

  it('gives one to anybody where it is public', async () => {
    const { server, require } = await bearer()
    fake.misbehave(require)
    await client().image('service').manifest('1.0.0')
    expect(sent(server)).toEqual([undefined])
  })

  it('keeps one for each scope', async () => {
    const { server, require } = await bearer()
    fake.misbehave(require)
    const registry = client()
    for (const name of ['service', 'other', 'service']) await registry.image(name).manifest('1.0.0')
    await Array.fromAsync(registry.repositories())
    await Array.fromAsync(registry.repositories())
    await Array.fromAsync(registry.tags('service'))
    expect(server.requests.map(({ path }) => new URLSearchParams(path.split('?')[1]).get('scope'))).toEqual([
      'repository:service:pull',
      'repository:other:pull',
      'registry:catalog:*'
    ])
  })

  it('keeps the newest thousand: a registry may have any number of repositories', async () => {
    const { server } = await bearer()
    const clock = { now: () => now, sleep: async () => {} }
    const agent = new Agent()
    const transport = createTransport(agent, defaultLimits, clock)
    const ecrTokens = () => Promise.reject(new Error('not asked')) as never
    const signIn = createSignIn(new URL(fake.url), null, { transport, limits: defaultLimits, clock, ecrTokens })
    const { signal } = new AbortController()
    const refusal = { challenge: `Bearer realm="${server.url}/token"`, authorization: null }
    for (let at = 0; at <= 1_000; at++) await signIn.renew(`repository:${at}:pull`, refusal, signal)
    expect(await signIn.authorization('repository:0:pull', signal)).toBeNull()
    expect(await signIn.authorization('repository:1:pull', signal)).toMatch(/^Bearer /)
    await agent.close()
  })

  it('asks for one once, however many requests wait for it', async () => {
    const { server, require } = await bearer()
    fake.misbehave(require)
    const source = client().image('service')
    await Promise.all(Array.from({ length: 5 }, () => source.manifest('1.0.0')))
    expect(server.requests).toHaveLength(1)
  })

  it('renews one that has run out, before it is refused', async () => {
    const { server, require } = await bearer({ lifetime: 100 })
    fake.misbehave(require)
    const source = client().image('service')
    await source.manifest('1.0.0')
    now += 89_000
    await source.manifest('1.0.0')
    expect(server.requests).toHaveLength(1)
    now += 2_000
    await source.manifest('1.0.0')
    expect(server.requests).toHaveLength(2)
    expect(fake.requests.map(({ status }) => status)).toEqual([401, 200, 200, 200])
  })

  it('renews one that is refused all the same', async () => {
    const { tokens, server, require } = await bearer()
    fake.misbehave(require)
    const source = client().image('service')
    await source.manifest('1.0.0')
    tokens.revoke()
    await Promise.all([source.manifest('1.0.0'), source.manifest('1.0.0')])
    expect(server.requests).toHaveLength(2)
  })

  it('renews one that is refused without saying how', async () => {
    const { server, require } = await bearer()
    fake.misbehave(require)
    const source = client().image('service')
    await source.manifest('1.0.0')
    // As ECR's public registry does with a token that has run out.
    fake.misbehave(times(1, refuse(400)))
    await source.manifest('1.0.0')
    expect(server.requests).toHaveLength(2)
    expect(fake.requests.map(({ status }) => status)).toEqual([401, 200, 400, 200])
  })

  it('renews one in the middle of a layer', async () => {
    const { server, require } = await bearer({ lifetime: 10 })
    fake.misbehave(require, when({ path: /blobs/ }, times(1, cutAfter(9))))
    const source = client().image('service')
    const chunks: string[] = []
    for await (const chunk of source.blob(layer)) {
      chunks.push(Buffer.from(chunk).toString())
      now += 60_000
    }
    expect(chunks).toEqual(['the first', ' layer'])
    expect(server.requests).toHaveLength(2)
  })

  it('is unauthorized where the token server says no, and where the token is not enough', async () => {
    const { require } = await bearer({ login: credentials })
    const end = fake.misbehave(require)
    await expect(client().image('service').manifest('1.0.0')).rejects.toMatchObject({
      code: 'unauthorized',
      message: expect.stringContaining('without a user name and password')
    })
    const wrong = client({ credentials: { username: 'user', password: 'wrong' } })
    const error = await wrong
      .image('service')
      .manifest('1.0.0')
      .catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'unauthorized', message: expect.stringContaining('does not accept') })
    end()
    const other = await bearer()
    fake.misbehave(requireBearer(createTokenIssuer(), `${other.server.url}/token`))
    await expect(client().image('service').manifest('1.0.0')).rejects.toMatchObject({ code: 'unauthorized' })
    expect(other.server.requests).toHaveLength(1)
  })

  it('waits for a token server that fails in passing', async () => {
    const tokens = createTokenIssuer({ now: () => now })
    let failures = 2
    const server = await start((request) =>
      failures-- > 0 ? { status: 503, headers: {}, body: Buffer.alloc(0) } : tokens.issue(request)
    )
    fake.misbehave(requireBearer(tokens, server.url))
    await client().image('service').manifest('1.0.0')
    expect(server.requests).toHaveLength(3)
  })

  it.each([
    ['no JSON', 'token'],
    ['no token', '{}'],
    ['a token that ends the header', JSON.stringify({ token: 'a\r\nx: y' })]
  ])('is invalid where the token server answers with %s, which the error does not show', async (_what, body) => {
    const server = await start(() => ({ status: 200, headers: {}, body: Buffer.from(body) }))
    fake.misbehave(requireBearer(createTokenIssuer(), server.url))
    const error = await client()
      .image('service')
      .manifest('1.0.0')
      .catch((caught: unknown) => caught)
    expect(error).toSatisfy(
      (caught: Error) => (caught as RegistryError).code === 'invalid' && caught.cause === undefined
    )
    expect(String(error)).not.toContain('x: y')
  })

  it('follows no redirect of the token server', async () => {
    const elsewhere = await start(createTokenIssuer().issue)
    const server = await start(() => ({ status: 307, headers: { location: elsewhere.url }, body: Buffer.alloc(0) }))
    fake.misbehave(requireBearer(createTokenIssuer(), server.url))
    await expect(client({ credentials }).image('service').manifest('1.0.0')).rejects.toMatchObject({ code: 'invalid' })
    expect(elsewhere.requests).toEqual([])
  })
})

describe('the token server that a registry names', () => {
  it.each([
    ['https://auth.example/token', 'https://registry.example'],
    ['https://auth.example/token', 'http://registry.example'],
    ['http://registry.example:5000/token', 'http://registry.example:5000'],
    ['http://127.0.0.1:5001/token', 'http://localhost:5000'],
    ['http://[::1]:5001/token', 'http://127.0.0.1:5000']
  ])('is asked: %s by %s', (realm, registry) => {
    expect(tokenServer(realm, new URL(registry)).href).toBe(realm)
  })

  it.each([
    ['http://auth.example/token', 'https://registry.example'],
    ['http://registry.example/token', 'https://registry.example'],
    ['http://registry.example:5001/token', 'http://registry.example:5000'],
    ['http://169.254.169.254/latest', 'http://registry.example'],
    ['http://127.0.0.1:5001/token', 'https://registry.example'],
    ['http://auth.example/token', 'http://localhost:5000'],
    ['http://127.0.0.1.example.com/token', 'http://localhost:5000'],
    ['http://localhost@auth.example/token', 'http://localhost:5000']
  ])('is not asked: %s by %s', (realm, registry) => {
    expect(() => tokenServer(realm, new URL(registry))).toThrow(expect.objectContaining({ code: 'unauthorized' }))
  })

  it.each([undefined, '', '/token', 'ftp://auth.example', 'file:///etc/passwd'])('must be one: %s', (realm) => {
    expect(() => tokenServer(realm, new URL('http://localhost:5000'))).toThrow(
      expect.objectContaining({ code: 'invalid' })
    )
  })
})

describe('a redirect', () => {
  it('takes no credential to another origin, and the content is read there', async () => {
    const storage = await startRegistry()
    others.push(storage)
    storage.putBlob('service', 'the first layer')
    fake.misbehave(requireBasic(credentials), when({ path: /blobs/ }, redirectTo(storage.url)))
    const source = client({ credentials }).image('service')
    expect(await read(source.blob(layer))).toBe('the first layer')
    expect(sent()).toEqual([undefined, basic])
    expect(sent(storage)).toEqual([undefined])
  })

  it('takes it to the same origin, and not back from another', async () => {
    const back = await start(({ url }) => ({
      status: 302,
      headers: { location: `${fake.url}${url.pathname}?back` },
      body: Buffer.alloc(0)
    }))
    const moved: Misbehaviour = (request, answer) => {
      if (request.url.search === '') return redirectTo(fake.url)(request, answer)
      return request.url.search === '?back' ? answer(request) : redirectTo(back.url)(request, answer)
    }
    fake.misbehave(requireBasic(credentials), moved)
    await expect(client({ credentials }).image('service').manifest('1.0.0')).rejects.toMatchObject({
      code: 'unauthorized'
    })
    expect(sent()).toEqual([undefined, basic, basic, undefined])
    expect(sent(back)).toEqual([undefined])
  })

  it('is not answered where the other origin asks for credentials', async () => {
    const thief = await start(() => ({
      status: 401,
      headers: { 'www-authenticate': 'Basic realm="storage"' },
      body: Buffer.alloc(0)
    }))
    fake.misbehave(redirectTo(thief.url))
    await expect(client({ credentials }).image('service').manifest('1.0.0')).rejects.toMatchObject({
      code: 'unauthorized',
      message: expect.not.stringContaining('signature')
    })
    expect(sent(thief)).toEqual([undefined])
  })
})

describe('ECR', () => {
  const signal = new AbortController().signal
  const dependencies = (tokens: string[]) => ({
    transport: {} as never,
    limits: defaultLimits,
    clock: { now: () => now, sleep: async () => {} },
    ecrTokens: () =>
      createEcrTokens(async () => ({ token: tokens.shift() ?? '', expiresAt: now + 12 * 3_600_000 }), {
        now: () => now,
        sleep: async () => {}
      })
  })
  const host = new URL('https://123456789012.dkr.ecr.eu-west-2.amazonaws.com')

  it('gets its own token from the first request on, whatever other credentials there are', async () => {
    const signIn = createSignIn(host, credentials, dependencies(['first', 'second']))
    expect(await signIn.authorization('repository:service:pull', signal)).toBe('Basic first')
    expect(await signIn.authorization('repository:other:pull', signal)).toBe('Basic first')
  })

  it('gets another where that is refused', async () => {
    const signIn = createSignIn(host, null, dependencies(['first', 'second']))
    const authorization = await signIn.authorization('repository:service:pull', signal)
    expect(await signIn.renew('repository:service:pull', { challenge: undefined, authorization }, signal)).toBe(
      'Basic second'
    )
  })

  it('is no other host', async () => {
    const elsewhere = new URL('https://123456789012.dkr.ecr.eu-west-2.amazonaws.com.example.com')
    const signIn = createSignIn(elsewhere, null, dependencies(['first']))
    expect(await signIn.authorization('repository:service:pull', signal)).toBeNull()
  })
})
