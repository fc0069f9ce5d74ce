/** Numbers that look random and are the same for the same seed: mulberry32, https://gist.github.com/tommyettinger/46a874533244883189143505d203312c */
export interface Random {
  /** From 0, below 1. */
  next(): number
  /** An integer from `least` to `most`. */
  integer(least: number, most: number): number
  pick<T>(items: readonly T[]): T
  shuffled<T>(items: readonly T[]): T[]
}

export function createRandom(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const integer = (least: number, most: number) => least + Math.floor(next() * (most - least + 1))
  return {
    next,
    integer,
    pick: (items) => items[integer(0, items.length - 1)] as (typeof items)[number],
    shuffled(items) {
      const all = [...items]
      for (let last = all.length - 1; last > 0; last--) {
        const other = integer(0, last)
        const moved = all[last] as (typeof all)[number]
        all[last] = all[other] as (typeof all)[number]
        all[other] = moved
      }
      return all
    }
  }
}

/** The seed of a run: what `SEED` says, else a new one; printed, so that a run that fails can be run again. */
export function seedOfRun(name: string): number {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  process.stderr.write(`${name}: SEED=${seed}\n`)
  return seed
}
