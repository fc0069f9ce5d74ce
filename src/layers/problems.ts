/** Something in a layer that could not be used, while the rest could. */
export interface LayerProblem {
  /** The entry's path, where it has one that can be told. */
  readonly path: string | null
  readonly reason: string
}

// A problem's path is for a person to read; one of a million characters helps nobody.
const SHOWN_PATH_LENGTH = 200

/** Collects problems up to a limit and counts the others, so that a layer made of problems stays small. */
export function createProblems(limit: number) {
  const problems: LayerProblem[] = []
  let more = 0
  return {
    add(path: string | null, reason: string): void {
      if (problems.length >= limit) {
        more++
        return
      }
      const shown = path !== null && path.length > SHOWN_PATH_LENGTH ? `${path.slice(0, SHOWN_PATH_LENGTH)}…` : path
      problems.push({ path: shown, reason })
    },
    list(): LayerProblem[] {
      return more === 0 ? problems : [...problems, { path: null, reason: `and ${more} more problems` }]
    }
  }
}
