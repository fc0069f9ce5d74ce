import { randomUUID } from 'node:crypto'
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../src/domain/digest.ts'
import { isRepositoryName, isTagName } from '../../src/domain/image-reference.ts'
import { type FakeAnswer, type FakeRequest, type FakeServer, type FakeServerOptions, startServer } from './server.ts'

// A registry in memory that takes pushes and serves pulls over HTTP:
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

const MAX_MANIFEST_BYTES = 4 * 1024 * 1024
const MAX_UPLOADS = 100
const DEFAULT_PAGE = 100
const MAX_PAGE = 1_000

export interface FakeRegistryOptions extends FakeServerOptions {
  /** One blob, in bytes; 1 GiB unless given. */
  readonly maxBlobBytes?: number
  /** All blobs and unfinished uploads together; 4 GiB unless given. */
  readonly maxBytes?: number
}

/** Changes an answer, or the request before it is answered: `(request, answer) => answer(request)` changes nothing. */
export type Misbehaviour = (
  request: FakeRequest,
  answer: (request: FakeRequest) => Promise<FakeAnswer>
) => Promise<FakeAnswer> | FakeAnswer

export interface StoredDescriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
}

export interface FakeRegistry extends FakeServer {
  /** Stores a blob as if it had been pushed. */
  putBlob(repository: string, bytes: Uint8Array | string, mediaType?: string): StoredDescriptor
  /** Stores a manifest, unchecked, so that a test can store one that no registry would take. */
  putManifest(
    repository: string,
    reference: string | null,
    document: Uint8Array | object,
    mediaType: string
  ): StoredDescriptor
  /** Applies to all requests from now on, the first outermost; returns what ends it. */
  misbehave(...misbehaviours: Misbehaviour[]): () => void
}

interface Repository {
  readonly blobs: Set<Digest>
  readonly manifests: Map<Digest, { readonly mediaType: string; readonly bytes: Buffer }>
  readonly tags: Map<string, Digest>
}

interface Upload {
  readonly repository: string
  readonly chunks: Buffer[]
  length: number
}

/** A refusal in the specification's form, https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes */
class Refused extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** @throws what listening fails with, `EADDRINUSE` for a port that is taken. */
export async function startRegistry(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
  const { maxBlobBytes = 1024 ** 3, maxBytes = 4 * 1024 ** 3 } = options
  const repositories = new Map<string, Repository>()
  const contents = new Map<Digest, Buffer>()
  const uploads = new Map<string, Upload>()
  const misbehaviours: Misbehaviour[] = []
  let bytesHeld = 0

  function repositoryFor(name: string): Repository {
    let found = repositories.get(name)
    if (found === undefined) {
      found = { blobs: new Set(), manifests: new Map(), tags: new Map() }
      repositories.set(name, found)
    }
    return found
  }

  function known(name: string): Repository {
    const found = repositories.get(name)
    if (found === undefined) throw new Refused(404, 'NAME_UNKNOWN', `there is no repository ${name}`)
    return found
  }

  function keep(name: string, digest: Digest, bytes: Buffer): void {
    repositoryFor(name).blobs.add(digest)
    if (contents.has(digest)) return
    contents.set(digest, bytes)
    bytesHeld += bytes.length
  }

  function forget(digest: Digest): void {
    if ([...repositories.values()].some(({ blobs }) => blobs.has(digest))) return
    bytesHeld -= contents.get(digest)?.length ?? 0
    contents.delete(digest)
  }

  /** Takes a request's body into an upload; what is above a limit is not kept. */
  async function receive(upload: Upload, body: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of body) {
      upload.length += chunk.length
      bytesHeld += chunk.length
      upload.chunks.push(chunk)
      if (upload.length > maxBlobBytes || bytesHeld > maxBytes) {
        throw new Refused(413, 'SIZE_INVALID', 'the blob is larger than this registry keeps')
      }
    }
  }

  function drop(id: string): void {
    bytesHeld -= uploads.get(id)?.length ?? 0
    uploads.delete(id)
  }

  function begin(repository: string): string {
    // A client that gave up left its upload behind; the oldest makes room.
    const [oldest] = uploads.keys()
    if (uploads.size >= MAX_UPLOADS && oldest !== undefined) drop(oldest)
    const id = randomUUID()
    uploads.set(id, { repository, chunks: [], length: 0 })
    return id
  }

  function uploadOf(repository: string, id: string): Upload {
    const upload = uploads.get(id)
    if (upload?.repository !== repository) throw new Refused(404, 'BLOB_UPLOAD_UNKNOWN', 'there is no such upload')
    return upload
  }

  function finish(repository: string, id: string, digest: string | null): FakeAnswer {
    const { chunks } = uploadOf(repository, id)
    drop(id)
    const bytes = Buffer.concat(chunks)
    if (digest === null || !isDigest(digest) || digestOf(bytes, digestAlgorithm(digest)) !== digest) {
      throw new Refused(400, 'DIGEST_INVALID', 'the content is not what the digest says')
    }
    keep(repository, digest, bytes)
    return created(`/v2/${repository}/blobs/${digest}`, digest)
  }

  function progress(status: number, repository: string, id: string): FakeAnswer {
    const { length } = uploadOf(repository, id)
    return empty(status, {
      location: `/v2/${repository}/blobs/uploads/${id}`,
      // An empty upload has no last byte; this is how registries put it all the same.
      range: `0-${Math.max(0, length - 1)}`,
      'docker-upload-uuid': id
    })
  }

  async function upload(request: FakeRequest, repository: string, id: string): Promise<FakeAnswer> {
    const { method, url, headers, body } = request
    const digest = url.searchParams.get('digest')
    try {
      if (method === 'POST' && id === '') {
        const mount = url.searchParams.get('mount')
        const from = repositories.get(url.searchParams.get('from') ?? '')
        if (mount !== null && isDigest(mount) && from?.blobs.has(mount)) {
          repositoryFor(repository).blobs.add(mount)
          return created(`/v2/${repository}/blobs/${mount}`, mount)
        }
        const begun = begin(repository)
        if (digest === null) return progress(202, repository, begun)
        await receive(uploadOf(repository, begun), body)
        return finish(repository, begun, digest)
      }
      const current = uploadOf(repository, id)
      switch (method) {
        case 'GET':
          return progress(204, repository, id)
        case 'PATCH': {
          const start = /^(\d+)-\d+$/.exec(headers['content-range'] ?? '')?.[1]
          if (start !== undefined && Number(start) !== current.length) {
            return { ...progress(416, repository, id), status: 416 }
          }
          await receive(current, body)
          return progress(202, repository, id)
        }
        case 'PUT':
          await receive(current, body)
          return finish(repository, id, digest)
        case 'DELETE':
          drop(id)
          return empty(204)
        default:
          throw unsupported(method)
      }
    } catch (error) {
      if (error instanceof Refused && error.status === 413) drop(id)
      throw error
    }
  }

  function blob({ method, headers }: FakeRequest, name: string, digest: string): FakeAnswer {
    const repository = known(name)
    const bytes = isDigest(digest) && repository.blobs.has(digest) ? contents.get(digest) : undefined
    if (bytes === undefined || !isDigest(digest)) throw new Refused(404, 'BLOB_UNKNOWN', 'there is no such blob')
    if (method === 'DELETE') {
      repository.blobs.delete(digest)
      forget(digest)
      return empty(202)
    }
    if (method !== 'GET' && method !== 'HEAD') throw unsupported(method)
    const about = {
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      'accept-ranges': 'bytes'
    }
    const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '')
    if (range === null) return { status: 200, headers: about, body: bytes }
    const start = Number(range[1])
    const end = Math.min(range[2] ? Number(range[2]) : bytes.length - 1, bytes.length - 1)
    if (start > end) return empty(416, { ...about, 'content-range': `bytes */${bytes.length}` })
    return {
      status: 206,
      headers: { ...about, 'content-range': `bytes ${start}-${end}/${bytes.length}` },
      body: bytes.subarray(start, end + 1)
    }
  }

  async function manifest(request: FakeRequest, name: string, reference: string): Promise<FakeAnswer> {
    if (!isDigest(reference) && !isTagName(reference)) throw new Refused(400, 'TAG_INVALID', 'that is no tag')
    if (request.method === 'PUT') {
      const bytes = await bodyOf(request, MAX_MANIFEST_BYTES)
      const mediaType = request.headers['content-type'] ?? ''
      checkManifest(repositoryFor(name), bytes)
      if (isDigest(reference) && digestOf(bytes, digestAlgorithm(reference)) !== reference) {
        throw new Refused(400, 'DIGEST_INVALID', 'the manifest is not what the digest says')
      }
      const { digest } = putManifest(name, reference, bytes, mediaType)
      return created(`/v2/${name}/manifests/${digest}`, digest)
    }
    const repository = known(name)
    const digest = isDigest(reference) ? reference : repository.tags.get(reference)
    const stored = digest === undefined ? undefined : repository.manifests.get(digest)
    if (digest === undefined || stored === undefined) {
      throw new Refused(404, 'MANIFEST_UNKNOWN', 'there is no such manifest')
    }
    if (request.method === 'DELETE') {
      if (!isDigest(reference)) {
        repository.tags.delete(reference)
      } else {
        repository.manifests.delete(digest)
        for (const [tag, target] of repository.tags) if (target === digest) repository.tags.delete(tag)
      }
      return empty(202)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') throw unsupported(request.method)
    return {
      status: 200,
      headers: { 'content-type': stored.mediaType, 'docker-content-digest': digest },
      body: stored.bytes
    }
  }

  function putManifest(
    name: string,
    reference: string | null,
    document: Uint8Array | object,
    mediaType: string
  ): StoredDescriptor {
    const bytes = Buffer.from(document instanceof Uint8Array ? document : JSON.stringify(document))
    const digest =
      reference !== null && isDigest(reference) ? digestOf(bytes, digestAlgorithm(reference)) : digestOf(bytes)
    const repository = repositoryFor(name)
    repository.manifests.set(digest, { mediaType, bytes })
    if (reference !== null && !isDigest(reference)) repository.tags.set(reference, digest)
    return { mediaType, digest, size: bytes.length }
  }

  function list({ method, url }: FakeRequest, path: string, key: string, all: Iterable<string>): FakeAnswer {
    if (method !== 'GET') throw unsupported(method)
    const size = Math.min(Number(url.searchParams.get('n') ?? DEFAULT_PAGE) || DEFAULT_PAGE, MAX_PAGE)
    const last = url.searchParams.get('last') ?? ''
    const rest = [...all].filter((name) => name > last).sort()
    const page = rest.slice(0, size)
    const query = new URLSearchParams({ n: String(size), last: page.at(-1) ?? '' })
    const link: Record<string, string> = rest.length > page.length ? { link: `<${path}?${query}>; rel="next"` } : {}
    const name = key === 'tags' ? { name: path.slice('/v2/'.length, -'/tags/list'.length) } : {}
    return json(200, { ...name, [key]: page }, link)
  }

  async function route(request: FakeRequest): Promise<FakeAnswer> {
    const path = decodeURIComponent(request.url.pathname)
    if (path === '/v2/' || path === '/v2') return json(200, {})
    if (path === '/v2/_catalog') return list(request, path, 'repositories', repositories.keys())
    const [, name = '', kind, rest = ''] = /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs|tags)\/(.*)$/.exec(path) ?? []
    if (!isRepositoryName(name)) throw new Refused(404, 'NAME_INVALID', 'that is no repository')
    if (kind === 'manifests') return manifest(request, name, rest)
    if (kind === 'blobs/uploads') return upload(request, name, rest)
    if (kind === 'blobs') return blob(request, name, rest)
    if (rest === 'list') return list(request, path, 'tags', known(name).tags.keys())
    throw new Refused(404, 'UNSUPPORTED', 'there is no such resource')
  }

  async function answer(request: FakeRequest): Promise<FakeAnswer> {
    try {
      const { status, headers, body } = await route(request)
      return { status, headers: { 'docker-distribution-api-version': 'registry/2.0', ...headers }, body }
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      return json(error.status, { errors: [{ code: error.code, message: error.message }] })
    }
  }

  const server = await startServer((request) => {
    const outermost = misbehaviours.reduceRight<(request: FakeRequest) => Promise<FakeAnswer>>(
      (inner, misbehaviour) => async (changed) => misbehaviour(changed, inner),
      answer
    )
    return outermost(request)
  }, options)

  return {
    ...server,
    putBlob: (repository, content, mediaType = 'application/octet-stream') => {
      const bytes = Buffer.from(content)
      const digest = digestOf(bytes)
      keep(repository, digest, bytes)
      return { mediaType, digest, size: bytes.length }
    },
    putManifest,
    misbehave: (...added) => {
      misbehaviours.push(...added)
      return () => {
        for (const misbehaviour of added.splice(0)) misbehaviours.splice(misbehaviours.indexOf(misbehaviour), 1)
      }
    }
  }
}

/** A registry takes no manifest whose parts it lacks: a pull could not succeed. */
function checkManifest({ blobs, manifests }: Repository, bytes: Buffer): void {
  type Part = { digest: Digest; urls?: string[] }
  let document: { config?: Part; layers?: Part[]; manifests?: Part[] }
  try {
    document = JSON.parse(bytes.toString())
  } catch {
    throw new Refused(400, 'MANIFEST_INVALID', 'the manifest is not JSON')
  }
  // A part with addresses of its own lies elsewhere.
  const parts = [document.config ?? [], document.layers ?? []].flat().filter(({ urls }) => urls === undefined)
  const isWhole =
    parts.every(({ digest }) => blobs.has(digest)) &&
    (document.manifests ?? []).every(({ digest }) => manifests.has(digest))
  if (!isWhole) throw new Refused(400, 'MANIFEST_BLOB_UNKNOWN', 'the manifest names content that was not pushed')
}

async function bodyOf({ body }: FakeRequest, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > limit) throw new Refused(413, 'SIZE_INVALID', `the manifest is larger than ${limit} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function unsupported(method: string): Refused {
  return new Refused(405, 'UNSUPPORTED', `${method} is not supported here`)
}

function empty(status: number, headers: Readonly<Record<string, string>> = {}): FakeAnswer {
  return { status, headers, body: Buffer.alloc(0) }
}

function created(location: string, digest: Digest): FakeAnswer {
  return empty(201, { location, 'docker-content-digest': digest })
}

export function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): FakeAnswer {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: Buffer.from(JSON.stringify(value))
  }
}
