import { createServer } from 'node:net'

/** The ports that people know. */
const KNOWN_PORTS = { api: 5094, registry: 5000, sqs: 4566 } as const
const NAMES = { api: 'API', registry: 'registry', sqs: 'SQS emulator' } as const

/** The port that people know something by; where that is taken, 0, which is any free one, and `say` is told. */
export async function knownPort(name: keyof typeof KNOWN_PORTS, say: (line: string) => void): Promise<number> {
  const port = KNOWN_PORTS[name]
  const probe = createServer()
  const isFree = await new Promise<boolean>((resolve, reject) => {
    probe.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error)
    )
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
  if (isFree) return port
  say(`Port ${port} is taken: the ${NAMES[name]} gets a free one.`)
  return 0
}
