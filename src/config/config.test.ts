import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEFAULT_LAYER_LIMITS } from '../layers/layers.ts'
import { ConfigError, type ConfigFault, documentedVariables, loadConfig } from './config.ts'

function faultsOf(environment: Record<string, string>): readonly ConfigFault[] {
  try {
    loadConfig(environment)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
  return []
}

const faulty = (environment: Record<string, string>) => faultsOf(environment).map(({ variable }) => variable)

describe('settings', () => {
  it('all have defaults that work on a bare machine', () => {
    const config = loadConfig({})
    expect(config.listen).toEqual({ host: '127.0.0.1', port: 5094 })
    expect(config.store).toEqual({ kind: 'sqlite', path: './data/cdp.db' })
    expect(config.queues).toMatchObject({ ecs: null, ecr: null })
    expect(config.registry).toMatchObject({ url: 'http://localhost:5000', credentials: null })
    expect(config.environments.names).toEqual(['snd', 'infra-dev', 'management', 'dev', 'test', 'perf-test', 'prod'])
    expect(config.environments.ofAccount('111111111')).toBe('prod')
    expect(config.adminEnvironments).toEqual(['infra-dev', 'management'])
    expect(config.hiddenEnvironments).toEqual(['snd'])
    expect(config.access).toEqual({ adminToken: null, writeToken: null })
  })

  it('the limits of a layer are those that reading one has by itself', () => {
    expect(DEFAULT_LAYER_LIMITS).toMatchObject(loadConfig({}).scan.layerLimits)
  })

  it('an empty variable counts as unset', () => {
    const empty = Object.fromEntries(documentedVariables.map(({ name }) => [name, ' ']))
    expect(JSON.stringify(loadConfig(empty))).toBe(JSON.stringify(loadConfig({})))
  })

  it('are read from the environment', () => {
    const config = loadConfig({
      PORT: ' 0 ',
      HOST: '0.0.0.0',
      STORE_URL: 'sqlite::memory:',
      ECS_EVENTS_QUEUE_URL: 'http://127.0.0.1:4566/000000000000/ecs-deployments',
      ENVIRONMENTS: ' 1=dev , 2 = prod,3=dev',
      ADMIN_ENVIRONMENTS: 'prod',
      CONTAINERS_TO_IGNORE: 'a, b,,a',
      REGISTRY_USERNAME: 'reader',
      REGISTRY_PASSWORD: ' as typed ',
      SCAN_PLATFORM: 'linux/arm64/v8',
      LOG_LEVEL: 'DEBUG'
    })
    expect(config.listen).toEqual({ host: '0.0.0.0', port: 0 })
    expect(config.store).toEqual({ kind: 'sqlite', path: ':memory:' })
    expect(config.queues.ecs).toBe('http://127.0.0.1:4566/000000000000/ecs-deployments')
    expect(config.environments.names).toEqual(['dev', 'prod'])
    expect(config.environments.ofAccount('3')).toBe('dev')
    expect(config.adminEnvironments).toEqual(['prod'])
    expect(config.containersToIgnore).toEqual(['a', 'b'])
    expect(config.registry.credentials?.username).toBe('reader')
    expect(config.registry.credentials?.password.reveal()).toBe(' as typed ')
    expect(config.scan.platform).toEqual({ os: 'linux', architecture: 'arm64', variant: 'v8' })
    expect(config.logLevel).toBe('debug')
  })

  it('cannot be changed, however deep', () => {
    const config = loadConfig({})
    for (const part of [config, config.listen, config.scan.layerLimits, config.environments.names]) {
      expect(Object.isFrozen(part)).toBe(true)
    }
  })

  it('every fault is reported in one message, one line each', () => {
    const environment = {
      PORT: '70000',
      STORE_URL: 'postgres://localhost',
      ENVIRONMENTS: '1=dev',
      ADMIN_ENVIRONMENTS: 'dev,moon',
      LOG_LEVEL: 'loud',
      REGISTRY_USERNAME: 'reader'
    }
    expect(faulty(environment).sort()).toEqual([
      'ADMIN_ENVIRONMENTS',
      'LOG_LEVEL',
      'PORT',
      'REGISTRY_PASSWORD',
      'STORE_URL'
    ])
    expect(() => loadConfig(environment)).toThrow(
      /^The settings cannot be used:\n(?: {2}[A-Z_]+ [^\n]+\n){4} {2}[A-Z_]+ [^\n]+$/
    )
  })

  it.each([
    ['PORT', ['-1', '65536', '80.5', '0x50', '1e3', 'http']],
    ['STORE_URL', ['sqlite:', './data/cdp.db', 'mongodb://localhost/cdp', 'mongodb+srv://localhost/cdp', 'sqlite']],
    ['REGISTRY_URL', ['localhost:5000', 'ftp://localhost', 'https://user:pass@localhost', 'http://']],
    ['ECR_EVENTS_QUEUE_URL', ['ecr-push-events', 'arn:aws:sqs:eu-west-2:1:ecr']],
    ['AWS_REGION', ['london', 'eu-west']],
    ['ENVIRONMENTS', ['dev', '1=', '=dev', '1=dev,1=test', '1=dev,,2=test', '1=dev=test']],
    ['HIDDEN_ENVIRONMENTS', ['nowhere']],
    ['SCAN_CONCURRENCY', ['0', '65']],
    ['SCAN_PLATFORM', ['linux', 'linux/arm64/v8/x', 'Linux/AMD64']],
    ['SQS_WAIT_SECONDS', ['21']],
    ['SQS_VISIBILITY_SECONDS', ['0', '43201']],
    ['ADMIN_TOKEN', ['two words', 'naïve', 'line\nbreak']],
    ['LOG_LEVEL', ['verbose']]
  ])('%s is refused when it is wrong', (variable, wrong) => {
    for (const value of wrong) expect(faulty({ [variable]: value }), value).toEqual([variable])
  })

  it('MongoDB is said to be missing from this version', () => {
    const [fault] = faultsOf({ STORE_URL: 'mongodb://localhost/cdp' })
    expect(fault?.message).toContain('not in this version')
  })

  it('who sets ENVIRONMENTS only is told nothing about the defaults of the others', () => {
    const config = loadConfig({ ENVIRONMENTS: '1=management,2=live' })
    expect(config.adminEnvironments).toEqual(['management'])
    expect(config.hiddenEnvironments).toEqual([])
  })

  it('no secret is in what is written of them, nor of their faults', () => {
    const secrets = {
      REGISTRY_USERNAME: 'reader',
      REGISTRY_PASSWORD: 'hunter2',
      ADMIN_TOKEN: 'hunter2-admin',
      WRITE_TOKEN: 'hunter2-write'
    }
    const config = loadConfig(secrets)
    expect(config.access.adminToken?.reveal()).toBe('hunter2-admin')
    expect(JSON.stringify(config) + inspect(config, { depth: null })).not.toContain('hunter2')
    const wrong = {
      ADMIN_TOKEN: 'hunter2 admin',
      STORE_URL: 'mongodb://u:hunter2@h/db',
      REGISTRY_URL: 'http://u:hunter2@h'
    }
    const faults = faultsOf(wrong)
    expect(faults).toHaveLength(3)
    expect(JSON.stringify(faults)).not.toContain('hunter2')
  })

  it('whatever is set, there are settings or faults, and each fault is of a variable that is set', () => {
    const names = documentedVariables.map(({ name }) => name)
    const value = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('0', '-1', '1=a,2=b', 'a,b', 'sqlite:x', 'http://a')
    )
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), value), (environment) => {
        // The pair of credentials is the one fault of what is not set.
        delete environment.REGISTRY_USERNAME
        delete environment.REGISTRY_PASSWORD
        for (const variable of faulty(environment)) expect(environment[variable]?.trim()).toBeTruthy()
      })
    )
  })

  it('accounts are read back as they were written', () => {
    const word = fc.stringMatching(/^[a-z0-9-]{1,12}$/)
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(word, word), { minLength: 1, selector: ([account]) => account }), (pairs) => {
        const { environments } = loadConfig({ ENVIRONMENTS: pairs.map((pair) => pair.join('=')).join(' , ') })
        for (const [account, name] of pairs) expect(environments.ofAccount(account)).toBe(name)
        expect(environments.names).toEqual([...new Set(pairs.map(([, name]) => name))])
      })
    )
  })
})
