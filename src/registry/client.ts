import { Agent } from 'undici'
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../domain/digest.ts'
import { isRepositoryName, isTagName } from '../domain/image-reference.ts'
import { streamBlob } from './blob.ts'
import { type Clock, startDeadline, systemClock } from './deadline.ts'
import { createEcrTokens, type EcrToken, ecrRegion, fetchEcrToken } from './ecr.ts'
import { RegistryError } from './errors.ts'
import { type Descriptor, type ImageSource, type Manifest, nameInSource } from './image-source.ts'
import { defaultLimits, type RegistryLimits } from './limits.ts'
import { isFirstSchema, manifestType } from './manifest-type.ts'
import { MANIFEST_TYPES } from './media-types.ts'
import { catalogPage, parseDocument, tagsPage } from './schema.ts'
import { type Credentials, createSignIn } from './sign-in.ts'
import { type Answer, createTransport, type Question } from './transport.ts'

const PAGE_SIZE = 500
const CATALOG_SCOPE = 'registry:catalog:*'

export interface RegistryOptions {
  /** `https://host[:port]`; http is for registries on this machine or in a network of one's own. */
  readonly url: string
  /** For a registry that asks. They go to the registry and to the token server that it names, see `tokenServer`. */
  readonly credentials?: Credentials
  readonly limits?: Partial<RegistryLimits>
  readonly clock?: Clock
  /** Asks AWS for ECR's token; called for registries at an exact ECR host only. */
  readonly ecrToken?: (region: string) => Promise<EcrToken>
}

/**
 * An OCI registry, read only: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
 * All calls throw RegistryError, or their signal's reason where it is aborted.
 */
export interface Registry {
  /** One repository's images. @throws RegistryError `invalid` where the name is none. */
  image(repository: string): ImageSource
  /** All repositories, in the registry's order. Names that break the specification's grammar are left out. */
  repositories(signal?: AbortSignal): AsyncIterable<string>
  /** The tags of a repository, in the registry's order, as `repositories`. */
  tags(repository: string, signal?: AbortSignal): AsyncIterable<string>
  /** Ends all connections; what is still under way fails as `unavailable`. */
  close(): Promise<void>
}

/**
 * @throws RegistryError `invalid` where the URL is not a registry's: credentials in it would end up in messages.
 */
export function createRegistry(options: RegistryOptions): Registry {
  const registry = registryUrl(options.url)
  const limits = { ...defaultLimits, ...options.limits }
  const clock = options.clock ?? systemClock
  const agent = new Agent({ connections: limits.connections, connect: { timeout: limits.connectMs } })
  const transport = createTransport(agent, limits, clock)
  const signIn = createSignIn(registry, options.credentials ?? null, {
    transport,
    limits,
    clock,
    ecrTokens: (url) => createEcrTokens(() => (options.ecrToken ?? fetchEcrToken)(ecrRegion(url)), clock)
  })

  /**
   * One request to the registry, signed in. A kept credential that is refused is renewed once: with 401 as the
   * specification has it, with 403 or 400 as ECR says that one has run out
   * (https://github.com/aws/containers-roadmap/issues/2835).
   * @returns an answer of one of the statuses that are `wanted`; any other is thrown.
   */
  async function ask(question: Question, scope: string, wanted: readonly number[]): Promise<Answer> {
    const { signal } = question
    let authorization = await signIn.authorization(scope, signal)
    const isKept = authorization !== null
    for (let isRenewed = false; ; isRenewed = true) {
      const answer = await transport.send({ ...question, authorization })
      if (wanted.includes(answer.status)) return answer
      const isRefused = answer.status === 401 || (isKept && (answer.status === 403 || answer.status === 400))
      // Another server's challenge is not answered: our credentials are this registry's.
      if (!isRefused || isRenewed || answer.isForeign) throw await transport.failure(answer, question)
      const refusal = await transport.failure(answer, question)
      authorization = await signIn.renew(
        scope,
        { challenge: answer.headers['www-authenticate'], authorization },
        signal
      )
      if (authorization === null) throw refusal
    }
  }

  /** A document as a whole, asked for again while the failure may pass. */
  async function fetchDocument(
    path: URL,
    name: string,
    scope: string,
    { accept, limit, signal }: { accept: string; limit: number; signal: AbortSignal | undefined }
  ): Promise<{ answer: Answer; body: Uint8Array }> {
    const deadline = startDeadline(limits.documentMs, name, signal)
    const question: Question = { url: path, name, headers: { accept }, signal: deadline.signal }
    try {
      for (let failures = 1; ; failures++) {
        try {
          const answer = await ask(question, scope, [200])
          return { answer, body: await transport.readBody(answer, limit, question) }
        } catch (error) {
          await transport.patience(error, failures, deadline.signal)
        }
      }
    } finally {
      deadline.clear()
    }
  }

  function image(repository: string): ImageSource {
    checkRepository(repository)
    const description = `${registry.host}/${repository}`
    const scope = `repository:${repository}:pull`

    async function manifest(reference: string, signal?: AbortSignal): Promise<Manifest> {
      const name = nameInSource({ description }, reference)
      const wanted = isDigest(reference) ? reference : null
      if (wanted === null && !isTagName(reference)) {
        throw new RegistryError('invalid', `${name} is neither a tag nor a digest`)
      }
      const { answer, body } = await fetchDocument(
        new URL(`/v2/${repository}/manifests/${reference}`, registry),
        name,
        scope,
        { accept: MANIFEST_TYPES.join(', '), limit: limits.manifestBytes, signal }
      )
      if (isFirstSchema(body)) {
        throw new RegistryError(
          'unsupported',
          `${name} is in Docker's first manifest schema, which is no longer read; push it again with a current tool`
        )
      }
      // A server in between may not pass the header on, and an old one does not send it.
      const said = answer.headers['docker-content-digest']
      const expected = wanted ?? (typeof said === 'string' && isDigest(said) ? said : null)
      const digest: Digest = digestOf(body, expected === null ? 'sha256' : digestAlgorithm(expected))
      if (expected !== null && digest !== expected) {
        throw new RegistryError('digest-mismatch', `the manifest ${name} does not match its digest`)
      }
      return { digest, mediaType: manifestType(body, answer.headers['content-type'], name), bytes: body }
    }

    function blob(descriptor: Descriptor, signal?: AbortSignal): AsyncIterable<Uint8Array> {
      const name = nameInSource({ description }, descriptor.digest)
      const url = new URL(`/v2/${repository}/blobs/${descriptor.digest}`, registry)
      const request = (question: Question, wanted: readonly number[]) => ask(question, scope, wanted)
      return streamBlob({ request, transport, limits }, { url, name, descriptor }, signal)
    }

    return { description, manifest, blob }
  }

  async function* pages<T>(
    first: URL,
    name: string,
    scope: string,
    parse: (body: Uint8Array) => T,
    signal: AbortSignal | undefined
  ): AsyncGenerator<T, void> {
    let next: URL | null = first
    for (let page = 0; next !== null; page++) {
      if (page >= limits.pages) throw new RegistryError('invalid', `${name} has more than ${limits.pages} pages`)
      const { answer, body } = await fetchDocument(next, name, scope, {
        accept: 'application/json',
        limit: limits.listBytes,
        signal
      })
      yield parse(body)
      next = nextPage(answer.headers.link, next, name)
    }
  }

  async function* repositories(signal?: AbortSignal): AsyncGenerator<string, void> {
    const url = new URL(`/v2/_catalog?n=${PAGE_SIZE}`, registry)
    const name = `the list of repositories of ${registry.host}`
    const parse = (body: Uint8Array) => parseDocument(catalogPage, body, name).repositories ?? []
    for await (const page of pages(url, name, CATALOG_SCOPE, parse, signal)) yield* page.filter(isRepositoryName)
  }

  async function* tags(repository: string, signal?: AbortSignal): AsyncGenerator<string, void> {
    checkRepository(repository)
    const url = new URL(`/v2/${repository}/tags/list?n=${PAGE_SIZE}`, registry)
    const name = `the list of tags of ${registry.host}/${repository}`
    const parse = (body: Uint8Array) => parseDocument(tagsPage, body, name).tags ?? []
    const scope = `repository:${repository}:pull`
    for await (const page of pages(url, name, scope, parse, signal)) yield* page.filter(isTagName)
  }

  return { image, repositories, tags, close: () => agent.destroy() }
}

function registryUrl(text: string): URL {
  const url = URL.parse(text)
  const isPlain =
    url !== null &&
    (url.protocol === 'https:' || url.protocol === 'http:') &&
    url.username === '' &&
    url.password === '' &&
    url.pathname === '/' &&
    url.search === '' &&
    url.hash === ''
  // The text is not quoted: it may hold a password.
  if (!isPlain) throw new RegistryError('invalid', 'the address of a registry is https://host[:port], and nothing more')
  return url
}

/** A name goes into a path, so it must not be able to lead out of it. */
function checkRepository(repository: string): void {
  if (!isRepositoryName(repository)) {
    throw new RegistryError('invalid', `${JSON.stringify(repository.slice(0, 100))} is no repository's name`)
  }
}

/**
 * The next page that a `Link` header names. It stays at the registry: another origin would be sent our sign-in.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
 */
function nextPage(header: string | string[] | undefined, current: URL, name: string): URL | null {
  const links = [header ?? []].flat().join(', ')
  const target = /<([^<>]*)>\s*;[^<]*\brel="?next"?/i.exec(links)?.[1]
  if (target === undefined) return null
  const next = URL.parse(target, current.href)
  if (next === null || next.origin !== current.origin) {
    throw new RegistryError('invalid', `${name} goes on at another server; that is not followed`)
  }
  return next
}
