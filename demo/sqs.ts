/** An SQS emulator in a process of its own, with the two queues: `npm run sqs`. It keeps nothing when it stops. */
import { startSqs } from '../test/fakes/sqs.ts'
import { knownPort } from './known-port.ts'
import { makeQueues } from './queues.ts'

const told = new Promise((resolve) => {
  // Heard for good, so that the second one does not kill: npm passes on what Ctrl-C sends to both of them already.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, resolve)
})
const sqs = await startSqs({ port: await knownPort('sqs', console.log) })
const queues = await makeQueues(sqs)
console.log(`SQS listens on ${sqs.endpoint}, with these queues:`)
for (const url of Object.values(queues)) console.log(`  ${url}`)
console.log('Ctrl-C stops it.')
await told
await sqs.close()
