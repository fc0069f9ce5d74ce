import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { soaked } from '../../test/soak.ts'
import { createEnvironments } from '../domain/environment.ts'
import { type Event, openEnvelope, parseTime, type QueueMessage } from './envelope.ts'
import { readMessage } from './read-event.ts'

const SENT = Date.UTC(2026, 2, 2, 12)

function message(body: unknown, given: Partial<QueueMessage> = {}): QueueMessage {
  return {
    messageId: 'message-1',
    sentAt: SENT,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...given
  }
}

function open(body: unknown, given: Partial<QueueMessage> = {}): Event {
  const envelope = openEnvelope('ecs', message(body, given))
  if (envelope.kind !== 'event') throw new Error(envelope.reason)
  return envelope.event
}

const event = {
  version: '0',
  id: 'id-1',
  'detail-type': 'ECS Task State Change',
  source: 'aws.ecs',
  account: '333333333',
  time: '2026-03-02T09:15:30Z',
  resources: ['arn:1'],
  detail: { taskArn: 'arn:1', containers: [{ name: 'a' }] }
}

describe('an event', () => {
  it('is what its message says', () => {
    expect(open(event)).toMatchObject({
      source: 'aws.ecs',
      detailType: 'ECS Task State Change',
      account: '333333333',
      id: 'id-1',
      time: Date.UTC(2026, 2, 2, 9, 15, 30),
      isTimeToTheSecond: true,
      sentAt: SENT,
      resources: ['arn:1'],
      detail: event.detail,
      root: event
    })
  })

  it('is the same through SNS and raw', () => {
    const notification = {
      Type: 'Notification',
      MessageId: 'sns-1',
      TopicArn: 'arn:sns',
      Message: JSON.stringify(event)
    }
    expect(open(notification)).toEqual(open(event))
  })

  it('that has a Type of its own is not unwrapped', () => {
    const own = { ...event, Type: 'Notification', Message: { text: 'no string' } }
    expect(open(own).id).toBe('id-1')
    expect(open({ ...event, Type: 'Other', Message: '{}' }).id).toBe('id-1')
  })

  it('without an id has its message’s, without a time its message’s SentTimestamp', () => {
    for (const nothing of [undefined, null, '']) {
      const { id, time, isTimeToTheSecond } = open({ ...event, id: nothing, time: nothing }, { messageId: 'message-7' })
      expect({ id, time, isTimeToTheSecond }).toEqual({ id: 'message-7', time: SENT, isTimeToTheSecond: false })
    }
  })

  it('with nothing but a detail is one', () => {
    expect(open({ detail: { a: 1 } })).toMatchObject({
      source: null,
      detailType: null,
      account: null,
      resources: [],
      detail: { a: 1 }
    })
    expect(open({})).toMatchObject({ detail: null })
  })

  it('may give its account and id as numbers', () => {
    expect(open({ ...event, account: 333333333, id: 5 })).toMatchObject({ account: '333333333', id: '5' })
  })
})

describe('two messages are duplicates', () => {
  function key(body: unknown, given: Partial<QueueMessage> = {}, channel: 'ecs' | 'ecr' = 'ecs'): string {
    const envelope = openEnvelope(channel, message(body, given))
    return envelope.kind === 'event' ? envelope.event.key : envelope.key
  }

  it('with the same source, account, id and body, however it is written', () => {
    const shuffled = Object.fromEntries(Object.entries(event).reverse())
    for (const written of [
      JSON.stringify(event, null, 2),
      JSON.stringify(shuffled),
      JSON.stringify(event).replaceAll('a', '\\u0061'),
      JSON.stringify({ Type: 'Notification', Message: JSON.stringify(event) })
    ]) {
      expect(key(written, { messageId: 'another', sentAt: 1 })).toBe(key(event))
    }
  })

  it('by whichever queue they came', () => {
    expect(key(event, {}, 'ecr')).toBe(key(event))
  })

  it.each([
    ['source', { source: 'aws.other' }],
    ['account', { account: '444444444' }],
    ['id', { id: 'id-2' }],
    ['time', { time: '2026-03-02T09:15:31Z' }],
    ['detail', { detail: { ...event.detail, taskArn: 'arn:2' } }],
    ['something beside the detail', { deployed_by: 'Ann' }],
    ['an order in a list', { resources: ['arn:2', 'arn:1'] }]
  ])('but not with another %s', (_, other) => {
    const two = { ...event, resources: ['arn:1', 'arn:2'] }
    expect(key({ ...two, ...other })).not.toBe(key(two))
  })

  it('without an id only where the message is the same', () => {
    const { id: _, ...bare } = event
    expect(key(bare, { messageId: 'a' })).toBe(key(bare, { messageId: 'a' }))
    expect(key(bare, { messageId: 'a' })).not.toBe(key(bare, { messageId: 'b' }))
  })

  it('that are no events only where the message is the same', () => {
    expect(key('{', { messageId: 'a' })).toBe(key('{', { messageId: 'a' }))
    expect(key('{', { messageId: 'a' })).not.toBe(key('{', { messageId: 'b' }))
    expect(key('{', { messageId: 'a' })).not.toBe(key('[', { messageId: 'a' }))
  })
})

describe('what is no event is rejected with its reason', () => {
  const nested = (depth: number) => `{"detail":{"a":${'['.repeat(depth)}${']'.repeat(depth)}}}`
  it.each([
    ['nothing', '', /^not JSON: /],
    ['a text', 'hello', /^not JSON: /],
    ['half an object', '{"detail":', /^not JSON: /],
    ['a list', '[{}]', /^not a JSON object$/],
    ['null', 'null', /^not a JSON object$/],
    ['a number', '1', /^not a JSON object$/],
    [
      'a notification of a text',
      '{"Type":"Notification","Message":"hello"}',
      /^the SNS notification's Message is not JSON: /
    ],
    ['a notification of a list', '{"Type":"Notification","Message":"[]"}', /^not a JSON object$/],
    ['a detail that is a text', '{"detail":"{}"}', /^not an event: detail: /],
    ['an account that is an object', '{"account":{},"detail":{}}', /^not an event: account: /],
    ['resources that are no texts', '{"resources":[1],"detail":{}}', /^not an event: resources\.0: /],
    ['deep nesting', nested(70), /^nested deeper than 64 levels$/],
    ['nesting without an end', nested(100_000), /^nested deeper than 64 levels$/]
  ])('%s', (_, body, reason) => {
    expect(openEnvelope('ecs', message(body))).toMatchObject({
      kind: 'other',
      outcome: 'rejected',
      reason: expect.stringMatching(reason)
    })
  })

  it('but what SNS asks of the owner of a queue is ignored', () => {
    for (const Type of ['SubscriptionConfirmation', 'UnsubscribeConfirmation']) {
      const asked = openEnvelope('ecs', message({ Type, Token: 't', SubscribeURL: 'https://sns.example' }))
      expect(asked).toMatchObject({ kind: 'other', outcome: 'ignored', reason: expect.stringContaining(Type) })
    }
  })
})

describe('a time', () => {
  it.each([
    ['2026-03-02T09:15:30Z', Date.UTC(2026, 2, 2, 9, 15, 30)],
    ['2026-03-02T09:15:30.123Z', Date.UTC(2026, 2, 2, 9, 15, 30, 123)],
    ['2026-03-02T09:15:30.123456789Z', Date.UTC(2026, 2, 2, 9, 15, 30, 123)],
    ['2026-03-02T09:15Z', Date.UTC(2026, 2, 2, 9, 15)],
    ['2026-03-02T09:15:30+01:00', Date.UTC(2026, 2, 2, 8, 15, 30)],
    ['2026-03-02T09:15:30-0130', Date.UTC(2026, 2, 2, 10, 45, 30)],
    ['0001-01-01T00:00:00Z', -62_135_596_800_000]
  ])('%s is one', (text, time) => {
    expect(parseTime(text)).toBe(time)
  })

  it('without a zone is UTC, wherever this machine stands', () => {
    const zone = process.env.TZ
    try {
      for (const here of ['Pacific/Auckland', 'America/New_York', 'UTC']) {
        process.env.TZ = here
        expect(parseTime('2026-03-02T09:15:30')).toBe(Date.UTC(2026, 2, 2, 9, 15, 30))
      }
    } finally {
      if (zone === undefined) delete process.env.TZ
      else process.env.TZ = zone
    }
  })

  it.each([
    '',
    'now',
    '2026-03-02',
    '1772442930',
    '2026-13-02T09:15:30Z',
    '2026-03-02T25:15:30Z',
    '+010000-01-01T00:00:00Z',
    '2026-03-02T09:15:30Z (x)'
  ])('%j is none', (text) => {
    expect(parseTime(text)).toBeNull()
  })

  it('knows whether it was given to the second only', () => {
    const isTimeToTheSecond = (time: string) => open({ ...event, time }).isTimeToTheSecond
    expect(isTimeToTheSecond('2026-03-02T09:15:30Z')).toBe(true)
    expect(isTimeToTheSecond('2026-03-02T09:15:30.000Z')).toBe(false)
    expect(isTimeToTheSecond('no time')).toBe(false)
  })
})

describe('no message makes a reader throw', () => {
  const options = { environments: createEnvironments([['333333333', 'dev']]), containersToIgnore: ['ssl'] }
  const read = (body: string) => readMessage('ecs', message(body), options)
  /** Keys that mean something to a reader, and to JavaScript. */
  const name = fc.oneof(
    fc.constantFrom('Type', 'Message', 'id', 'account', 'time', 'source', 'resources', 'detail', 'detail-type'),
    fc.constantFrom('__proto__', 'constructor', 'toString', 'valueOf', 'length', 'toJSON'),
    fc.string()
  )
  const odd = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom(
        null,
        true,
        -0,
        1e308,
        -1,
        2 ** 53,
        'Notification',
        '333333333',
        '2026-03-02T09:15:30Z',
        '',
        '\ud800',
        '\u0000'
      ),
      fc.string(),
      fc.double(),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(name, tie('value'), { maxKeys: 5, noNullPrototype: false })
    )
  })).value
  const kinds = [
    'ECS Task State Change',
    'ECS Deployment State Change',
    'ECS Service Action',
    'ECS Lambda Deployment Updated',
    'ECR Image Action',
    'Deployment Requested'
  ]

  it('whatever its text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void read(text)))
  })

  it('whatever its JSON', () => {
    fc.assert(fc.property(odd, (value) => void read(JSON.stringify(value) ?? '')))
  })

  it('whatever is in an event of a kind that is read [soak]', () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom('SUCCESS', 'PUSH', 'DELETE', 'RUNNING', 'constructor', '__proto__', 'a:1.0.0', '1.0.0')
    )
    const field = fc.oneof(text, odd)
    const detail = fc.record(
      Object.fromEntries(
        [
          'result',
          'action-type',
          'repository-name',
          'image-tag',
          'image-digest',
          'lastStatus',
          'taskArn',
          'taskDefinitionArn',
          'startedBy',
          'group',
          'version',
          'cpu',
          'createdAt',
          'startedAt',
          'stoppedAt',
          'eventName',
          'deploymentId',
          'reason'
        ].map((one) => [one, field])
      ),
      { requiredKeys: [] }
    )
    const containers = fc.array(
      fc.record(
        { name: field, image: field, imageDigest: field, lastStatus: field, exitCode: field },
        { requiredKeys: [] }
      )
    )
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        detail,
        fc.oneof(containers, odd),
        field,
        field,
        (kind, fields, boxes, resources, by) => {
          const body = {
            'detail-type': kind,
            account: '333333333',
            resources: [resources],
            detail: { ...fields, containers: boxes },
            cdp_deployment_id: by,
            deployed_by: by
          }
          for (const channel of ['ecs', 'portal'] as const) {
            const { reading } = readMessage(channel, message(body), options)
            // No reader needs the net that catches what it throws.
            if (reading.outcome !== 'done') expect(reading.reason).toMatch(/^(?!it could not be read)./)
          }
        }
      ),
      soaked('events', 500)
    )
  })
})
