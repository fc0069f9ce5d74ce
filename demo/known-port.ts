/** The ports that people know. */
export const KNOWN_PORTS = { api: 5094, registry: 5000, sqs: 4566 } as const

/**
 * Starts something on the port that people know it by; where that is taken, on a free one, and `say`s so.
 * @param start is given the port; 0 is any free one. It listens, or throws what listening fails with.
 */
export async function startOnKnownPort<T>(
  name: keyof typeof KNOWN_PORTS,
  start: (port: number) => Promise<T>,
  say: (line: string) => void
): Promise<T> {
  const port = KNOWN_PORTS[name]
  try {
    return await start(port)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error
    say(`Port ${port} is taken: the ${name === 'sqs' ? 'SQS emulator' : name} gets a free one.`)
    return start(0)
  }
}
