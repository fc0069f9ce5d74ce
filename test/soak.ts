import type fc from 'fast-check'
import { seedOfRun } from './random.ts'

/**
 * How a property test runs whose name ends in `[soak]`: `numRuns` times with the other tests, and for `SOAK_SECONDS`
 * in `npm run soak`. Its seed is printed then, and `SEED` gives it again.
 */
export function soaked<T>(name: string, numRuns: number): fc.Parameters<T> {
  const seconds = Number(process.env.SOAK_SECONDS ?? 0)
  if (seconds === 0) return { numRuns }
  return { numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000, seed: seedOfRun(name) }
}
