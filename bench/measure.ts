/** What benchmarks share: times are milliseconds. */

/** The value that so much of the sorted values lie below: 0.5 is the median. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** Milliseconds that the work took. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

/** Runs each piece of work in turn, round after round, so that a noisy moment meets all of them. */
export async function interleaved(rounds: number, works: Readonly<Record<string, () => Promise<unknown>>>) {
  const times = new Map(Object.keys(works).map((name) => [name, [] as number[]]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, work] of Object.entries(works)) times.get(name)?.push(await timed(work))
  }
  return times
}

/** A line for people: name, median, p99. */
export function report(name: string, times: readonly number[]): string {
  const figure = (share: number) => quantile(times, share).toFixed(1).padStart(8)
  return `${name.padEnd(44)} median ${figure(0.5)} ms   p99 ${figure(0.99)} ms   n ${times.length}`
}
