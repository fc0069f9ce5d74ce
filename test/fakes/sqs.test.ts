import { once } from 'node:events'
import { request } from 'node:http'
import { CreateQueueCommand, ReceiveMessageCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type FakeSqs, sqsClient, startSqs } from './sqs.ts'

describe('the SQS emulator', () => {
  let sqs: FakeSqs
  let url: string

  beforeAll(async () => {
    sqs = await startSqs()
    url = await sqs.createQueue('queue')
  })

  afterAll(() => sqs.close())

  it('names its queues by a host that clients need not find', () => {
    expect(url).toBe(`http://sqs.eu-west-2.localhost:${new URL(sqs.endpoint).port}/000000000000/queue`)
  })

  it('finds a queue by the last part of its URL', async () => {
    const client = sqsClient(sqs.endpoint)
    const spellings = [
      url,
      `${sqs.endpoint}/000000000000/queue`,
      'queue',
      'http://sqs.eu-west-2.localhost.localstack.cloud:4566/0/queue'
    ]
    for (const QueueUrl of spellings) await client.send(new SendMessageCommand({ QueueUrl, MessageBody: QueueUrl }))
    const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl: url, MaxNumberOfMessages: 10 }))
    expect(Messages.map(({ Body }) => Body).sort()).toEqual(spellings.toSorted())
    client.destroy()
  })

  it('keeps a message for others where whoever waited for it has gone', async () => {
    const client = sqsClient(sqs.endpoint)
    const headers = { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': 'AmazonSQS.ReceiveMessage' }
    const waiting = request(sqs.endpoint, { method: 'POST', headers }).on('error', () => {})
    waiting.end(JSON.stringify({ QueueUrl: url, WaitTimeSeconds: 20, VisibilityTimeout: 60 }))
    await once(waiting, 'finish')
    // An answer to a question that came later: by then the other one is being waited for.
    await sqs.depth(url)
    waiting.destroy()
    await client.send(new SendMessageCommand({ QueueUrl: url, MessageBody: 'kept' }))
    const { Messages = [] } = await client.send(new ReceiveMessageCommand({ QueueUrl: url, WaitTimeSeconds: 5 }))
    expect(Messages.map(({ Body }) => Body)).toEqual(['kept'])
    client.destroy()
  })

  it('has one queue of a name for all regions', async () => {
    const credentials = { accessKeyId: 'other', secretAccessKey: 'other' }
    const client = new SQSClient({ endpoint: sqs.endpoint, region: 'us-east-1', credentials })
    expect(await client.send(new CreateQueueCommand({ QueueName: 'queue' }))).toMatchObject({ QueueUrl: url })
    client.destroy()
  })
})
