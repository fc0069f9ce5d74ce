import { type Digest, isDigest } from './digest.ts'

/** A container image as it is written: `[host[:port]/]repository[:tag][@digest]`. */
export interface ImageReference {
  /** The registry's host, with its port where one is written; null where the text names none. */
  readonly host: string | null
  /** The repository's path inside the registry: `service` or `team/service`. */
  readonly repository: string
  readonly tag: string | null
  readonly digest: Digest | null
}

// The grammar of https://github.com/distribution/reference/blob/main/reference.go
const REPOSITORY = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const MAX_REPOSITORY_LENGTH = 255

/** Whether `text` can be a repository's name in an OCI registry: lower case, at most 255 characters. */
export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text)
}

/** Whether `text` can be a tag in an OCI registry: at most 128 characters. */
export function isTagName(text: string): boolean {
  return TAG.test(text)
}

/**
 * Reads an image reference. The first part is a host only where it holds a dot or a colon or is `localhost`,
 * as every container tool decides it; no default host, `library/` or `latest` is put in.
 * @returns null where the text is no image reference.
 */
export function parseImageReference(text: string): ImageReference | null {
  let rest = text.trim()
  let digest: Digest | null = null
  const at = rest.indexOf('@')
  if (at !== -1) {
    const written = rest.slice(at + 1)
    if (!isDigest(written)) return null
    digest = written
    rest = rest.slice(0, at)
  }
  let host: string | null = null
  const slash = rest.indexOf('/')
  if (slash !== -1) {
    const first = rest.slice(0, slash)
    if (first.includes('.') || first.includes(':') || first === 'localhost') {
      host = first
      rest = rest.slice(slash + 1)
    }
  }
  let tag: string | null = null
  const colon = rest.indexOf(':')
  if (colon !== -1) {
    tag = rest.slice(colon + 1)
    rest = rest.slice(0, colon)
    if (!isTagName(tag)) return null
  }
  if (!isRepositoryName(rest)) return null
  return { host, repository: rest, tag, digest }
}
