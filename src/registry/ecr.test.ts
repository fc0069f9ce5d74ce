import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { json } from '../../test/fakes/registry.ts'
import { type FakeAnswer, type FakeServer, startServer } from '../../test/fakes/server.ts'
import { createEcrTokens, ecrRegion, fetchEcrToken, isEcrRegistry } from './ecr.ts'
import { RegistryError } from './errors.ts'

describe('an ECR registry', () => {
  it.each([
    'https://123456789012.dkr.ecr.eu-west-2.amazonaws.com',
    'https://123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/',
    'https://123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn'
  ])('is %s', (url) => {
    expect(isEcrRegistry(new URL(url))).toBe(true)
  })

  it.each([
    'http://123456789012.dkr.ecr.eu-west-2.amazonaws.com',
    'https://123456789012.dkr.ecr.eu-west-2.amazonaws.com:8443',
    'https://123456789012.dkr.ecr.eu-west-2.amazonaws.com.example.com',
    'https://123456789012.dkr.ecr.eu-west-2.amazonaws.com.cn.example.com',
    'https://123456789012.dkr.ecr.eu-west-2.amazonaws.com@example.com',
    'https://example.com/123456789012.dkr.ecr.eu-west-2.amazonaws.com',
    'https://x.y.dkr.ecr.eu-west-2.amazonaws.com',
    'https://123456789012.dkr.ecr.eu-west-2.amazonawsXcom',
    'https://123456789012.dkr-ecr.eu-west-2.amazonaws.com',
    'https://dkr.ecr.eu-west-2.amazonaws.com',
    'https://public.ecr.aws',
    'http://localhost:5000'
  ])('is not %s', (url) => {
    expect(isEcrRegistry(new URL(url))).toBe(false)
  })

  it('lies in the region of its host', () => {
    expect(ecrRegion(new URL('https://123456789012.dkr.ecr-fips.us-east-1.amazonaws.com'))).toBe('us-east-1')
  })
})

describe('ECR’s token', () => {
  const { signal } = new AbortController()
  const minute = 60_000
  const hour = 60 * minute
  let now = 0
  const clock = { now: () => now, sleep: async () => {} }

  beforeEach(() => {
    now = 0
  })

  it('is asked for once, by all that need it, and kept until shortly before its end', async () => {
    let asked = 0
    const tokens = createEcrTokens(async () => ({ token: `token-${++asked}`, expiresAt: now + 12 * hour }), clock)
    const both = await Promise.all([tokens.current(signal), tokens.current(signal)])
    expect(both).toEqual(['token-1', 'token-1'])
    now = 12 * hour - 16 * minute
    expect(await tokens.current(signal)).toBe('token-1')
    now = 12 * hour - 14 * minute
    expect(await tokens.current(signal)).toBe('token-2')
  })

  it('is renewed when it is refused, unless another request has done so', async () => {
    let asked = 0
    const tokens = createEcrTokens(async () => ({ token: `token-${++asked}`, expiresAt: now + 12 * hour }), clock)
    await tokens.current(signal)
    expect(await tokens.renewed('token-1', signal)).toBe('token-2')
    expect(await tokens.renewed('token-1', signal)).toBe('token-2')
    expect(await tokens.current(signal)).toBe('token-2')
  })

  it('is asked for again after a failure', async () => {
    let asked = 0
    const tokens = createEcrTokens(async () => {
      if (++asked === 1) throw new RegistryError('unavailable', 'away')
      return { token: 'token', expiresAt: now + 12 * hour }
    }, clock)
    await expect(tokens.current(signal)).rejects.toThrow('away')
    expect(await tokens.current(signal)).toBe('token')
  })

  it('is not waited for by who gives up', async () => {
    const controller = new AbortController()
    const tokens = createEcrTokens(() => new Promise(() => {}), clock)
    const waiting = tokens.current(controller.signal)
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
  })
})

describe('asking AWS for a token', () => {
  let aws: FakeServer
  let answer: FakeAnswer

  beforeEach(async () => {
    aws = await startServer(() => answer)
    vi.stubEnv('AWS_ENDPOINT_URL_ECR', aws.url)
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIAEXAMPLE')
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'a-secret')
    vi.stubEnv('AWS_MAX_ATTEMPTS', '1')
  })

  afterEach(() => aws.close())

  it('brings the token and its end', async () => {
    answer = json(200, { authorizationData: [{ authorizationToken: 'QVdTOnBhc3M=', expiresAt: 1_800_000_000 }] })
    expect(await fetchEcrToken('eu-west-2')).toEqual({ token: 'QVdTOnBhc3M=', expiresAt: 1_800_000_000_000 })
    expect(aws.requests[0]?.headers['x-amz-target']).toMatch(/GetAuthorizationToken$/)
  })

  it.each([
    [400, 'AccessDeniedException', 'unauthorized'],
    [400, 'UnrecognizedClientException', 'unauthorized'],
    [400, 'ThrottlingException', 'throttled'],
    [500, 'ServerException', 'unavailable']
  ])('says why there is none: %i %s is %s', async (status, type, code) => {
    answer = json(status, { __type: type, message: 'AKIAEXAMPLE may not' })
    const error = await fetchEcrToken('eu-west-2').catch((caught: unknown) => caught)
    expect(error).toMatchObject({ name: 'RegistryError', code })
    expect(String(error)).toContain(type)
    expect(String(error)).not.toContain('AKIAEXAMPLE')
  })

  it('takes no token that could end a header', async () => {
    answer = json(200, { authorizationData: [{ authorizationToken: 'a\r\nhost: b', expiresAt: 1_800_000_000 }] })
    await expect(fetchEcrToken('eu-west-2')).rejects.toMatchObject({ code: 'invalid' })
  })
})
