/** One way to sign in that a server offers: https://www.rfc-editor.org/rfc/rfc9110#field.www-authenticate */
export interface Challenge {
  /** In lower case: `basic`, `bearer`. */
  readonly scheme: string
  /** Names in lower case; where a name comes twice, the first. */
  readonly parameters: ReadonlyMap<string, string>
}

const MAX_HEADER = 16 * 1024
const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y
const QUOTED = /"((?:[^"\\]|\\.)*)"/y
const BLANK = /[ \t]*/y
const SEPARATOR = /[ \t,]*/y
const TOKEN68 = /[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y

/**
 * Reads a `WWW-Authenticate` header, or several of them joined by commas.
 * A comma stands between challenges and between the parameters of one; a name is a parameter where `=` follows it.
 * Reading ends at the first thing that fits neither; what was read until there counts.
 */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = []
  if (header.length > MAX_HEADER) return challenges
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const match = pattern.exec(header)
    if (match !== null) at = pattern.lastIndex
    return match
  }
  let parameters: Map<string, string> | null = null
  for (;;) {
    take(SEPARATOR)
    const name = take(TOKEN)?.[0].toLowerCase()
    if (name === undefined) return challenges
    const afterName = at
    take(BLANK)
    if (parameters !== null && header[at] === '=') {
      at++
      take(BLANK)
      const quoted = take(QUOTED)
      const value = quoted === null ? take(TOKEN)?.[0] : (quoted[1] ?? '').replace(/\\(.)/g, '$1')
      if (value === undefined) return challenges
      if (!parameters.has(name)) parameters.set(name, value)
      continue
    }
    parameters = new Map()
    challenges.push({ scheme: name, parameters })
    // `Negotiate abc==`: a value without a name, which no scheme here uses.
    if (at > afterName) take(TOKEN68)
  }
}
