import { CreateQueueCommand, GetQueueAttributesCommand, SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs'
import { buildApp } from 'fauxqs'

/** An SQS emulator on loopback, spoken to as SQS is. */
export interface FakeSqs {
  /** `http://127.0.0.1:4566` */
  readonly endpoint: string
  /** Makes a queue, or finds the one of that name. @returns its URL. */
  createQueue(name: string, attributes?: Record<string, string>): Promise<string>
  /** Sends bodies, ten at a time. */
  send(queueUrl: string, bodies: readonly string[]): Promise<void>
  /** Messages that wait, and messages that somebody has received and not deleted. */
  depth(queueUrl: string): Promise<{ waiting: number; inFlight: number }>
  close(): Promise<void>
}

const BATCH = 10
/** The account that emulators are. */
const ACCOUNT = '000000000000'
const REGION = 'eu-west-2'

/** A client for an emulator that has these credentials and no other. */
export function sqsClient(endpoint: string): SQSClient {
  const credentials = { accessKeyId: 'local', secretAccessKey: 'local' }
  return new SQSClient({ endpoint, region: REGION, credentials, useQueueUrlAsEndpoint: false })
}

/** Makes received messages visible again at once. */
async function giveBack(app: ReturnType<typeof buildApp>, request: object | null, answer: unknown): Promise<void> {
  const { Messages = [] } = answer as { Messages?: { ReceiptHandle: string }[] }
  for (const { ReceiptHandle } of Messages) {
    await app.inject({
      method: 'POST',
      url: '/',
      headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': 'AmazonSQS.ChangeMessageVisibility' },
      payload: JSON.stringify({ ...request, ReceiptHandle, VisibilityTimeout: 0 })
    })
  }
}

/**
 * Starts the emulator in this process; its own start would listen on every address. It is lenient where LocalStack is: one
 * queue of a name, whatever region a client has, and a queue's URL is told by its last part, whatever host it names.
 */
export async function startSqs({ port = 0 }: { port?: number } = {}): Promise<FakeSqs> {
  const app = buildApp({ logger: false, defaultRegion: REGION })
  app.addHook('preHandler', async ({ body, headers }) => {
    // The emulator reads the region from the signature, and the queues' host from the request.
    delete headers.authorization
    headers.host = new URL(endpoint).host
    if (typeof body !== 'object' || body === null || !('QueueUrl' in body)) return
    body.QueueUrl = `http://sqs.${REGION}.localhost:${new URL(endpoint).port}/${ACCOUNT}/${String(body.QueueUrl).split('/').at(-1)}`
  })
  app.addHook('preSerialization', async ({ raw, body }, _reply, answer) => {
    // Whoever waited for these messages is gone; as they are, nobody else would see them for a minute.
    if (raw.socket.destroyed && typeof body === 'object') await giveBack(app, body, answer)
    return answer
  })
  const endpoint = await app.listen({ host: '127.0.0.1', port })
  const client = sqsClient(endpoint)
  return {
    endpoint,
    async createQueue(name, attributes) {
      const { QueueUrl } = await client.send(new CreateQueueCommand({ QueueName: name, Attributes: attributes }))
      if (QueueUrl === undefined) throw new Error(`no queue ${name} was made`)
      return QueueUrl
    },
    async send(queueUrl, bodies) {
      for (let start = 0; start < bodies.length; start += BATCH) {
        const Entries = bodies
          .slice(start, start + BATCH)
          .map((body, index) => ({ Id: String(index), MessageBody: body }))
        await client.send(new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries }))
      }
    },
    async depth(queueUrl) {
      const { Attributes } = await client.send(
        new GetQueueAttributesCommand({
          QueueUrl: queueUrl,
          AttributeNames: ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible']
        })
      )
      return {
        waiting: Number(Attributes?.ApproximateNumberOfMessages),
        inFlight: Number(Attributes?.ApproximateNumberOfMessagesNotVisible)
      }
    },
    async close() {
      client.destroy()
      await app.close()
    }
  }
}
