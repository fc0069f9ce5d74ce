// npm takes no longer names: https://github.com/npm/validate-npm-package-name
const MAX_NAME_LENGTH = 214
const MAX_VERSION_LENGTH = 256
// Old packages have capitals, so this is wider than what npm takes today; what ends a name in a path or a url is not in it.
const NAME = /^(?:(@[\w.~!'()*-]+)\/)?([\w.~!'()*-]+)$/
// Also 1.0.0-rc.1+build; no range, no url and no alias.
const VERSION = /^[\w.+-]+$/

/** A package's name in its parts, scope with its `@`; null where it can be none. */
export function parsePackageName(name: unknown): { scope: string | null; name: string } | null {
  if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH) return null
  const match = NAME.exec(name)
  return match?.[2] === undefined ? null : { scope: match[1] ?? null, name: match[2] }
}

export function isPackageVersion(version: unknown): version is string {
  return typeof version === 'string' && version.length <= MAX_VERSION_LENGTH && VERSION.test(version)
}
