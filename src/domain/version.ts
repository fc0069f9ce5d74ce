/** A release version as an image tag carries it: `1.2.3` or `v1.2.3`, nothing before or after. */
const RELEASE_TAG = /^v?(\d+)\.(\d+)\.(\d+)$/
const PART_LIMIT = 65_535

/** The three parts of a release tag as digits without leading zeros (they may exceed a safe integer). */
function releaseParts(tag: string): readonly [string, string, string] | null {
  const match = RELEASE_TAG.exec(tag)
  if (match === null) return null
  const bare = (digits: string | undefined) => (digits ?? '').replace(/^0+(?=\d)/, '')
  return [bare(match[1]), bare(match[2]), bare(match[3])]
}

/** Whether a tag is a release version: only those are scanned on push and can be deployed. */
export function isReleaseTag(tag: string): boolean {
  return RELEASE_TAG.test(tag)
}

/**
 * The three parts packed into 16 bits each: `1.2.3` → 4295098371. At most 2^48, so exact in a double.
 * @returns null for a tag that is no release version, or one with a part above 65535.
 */
export function packVersion(tag: string): number | null {
  const parts = releaseParts(tag)
  if (parts === null) return null
  let packed = 0
  for (const part of parts) {
    const value = Number(part)
    if (value > PART_LIMIT) return null
    packed = packed * (PART_LIMIT + 1) + value
  }
  return packed
}

/**
 * A text that sorts as the versions do, for any number of digits; other tags sort before every release, by name.
 * Each part is its digit count in three figures, then its digits. (A tag has at most 128 characters.)
 */
export function versionSortKey(tag: string): string {
  const parts = releaseParts(tag)
  if (parts === null) return `0${tag}`
  return `1${parts.map((part) => `${String(part.length).padStart(3, '0')}${part}`).join('.')}`
}

/** Orders two tags by version, lower first; equal versions (`1.2.3`, `v1.2.3`) by their text. */
export function compareTags(a: string, b: string): number {
  return compareText(versionSortKey(a), versionSortKey(b)) || compareText(a, b)
}

/** Whether two tags name the same version: the same text, or releases with equal parts. */
export function isSameVersion(a: string, b: string): boolean {
  return versionSortKey(a) === versionSortKey(b)
}

/** Orders two texts by code unit, never by locale: as the stores order names, which are ASCII. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
