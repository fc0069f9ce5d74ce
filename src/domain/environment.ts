/** The environments of the platform, one AWS account each, in promotion order. */
export interface Environments {
  /** Distinct names, in promotion order. */
  readonly names: readonly string[]
  /** The environment that an AWS account is; null for an account that is not in the settings. */
  ofAccount(account: string): string | null
  /** The first account that is this environment; null for a name that is not in the settings. */
  accountOf(name: string): string | null
  /** The place in promotion order, from 0; an unknown name comes last. */
  rank(name: string): number
}

/** Builds the lookup from `[account, name]` pairs in promotion order. */
export function createEnvironments(pairs: readonly (readonly [account: string, name: string])[]): Environments {
  const byAccount = new Map(pairs)
  const names = [...new Set(pairs.map(([, name]) => name))]
  const ranks = new Map(names.map((name, index) => [name, index]))
  return {
    names,
    ofAccount: (account) => byAccount.get(account) ?? null,
    accountOf: (name) => pairs.find(([, candidate]) => candidate === name)?.[0] ?? null,
    rank: (name) => ranks.get(name) ?? names.length
  }
}
