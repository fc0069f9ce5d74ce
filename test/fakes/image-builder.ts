import { Buffer } from 'node:buffer'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { type Digest, digestOf } from '../../src/domain/digest.ts'
import { buildTar, type TarEntrySpec } from './tar-builder.ts'

export type Compression = 'gzip' | 'zstd' | 'none'

/** A layer as it lies in a registry, with all that an image needs to name it. */
export interface BuiltLayer {
  readonly blob: Buffer
  readonly digest: Digest
  readonly diffId: Digest
  readonly size: number
  readonly compression: Compression
}

/** The layer of some entries, or of an archive that is at hand. The same input makes the same bytes. */
export function buildLayer(
  entries: readonly TarEntrySpec[] | Buffer,
  options: { readonly compression?: Compression } = {}
): BuiltLayer {
  const archive = Buffer.isBuffer(entries) ? entries : buildTar(entries)
  const compression = options.compression ?? 'gzip'
  const blob = compress(archive, compression)
  return { blob, digest: digestOf(blob), diffId: digestOf(archive), size: blob.length, compression }
}

/** An entry that removes a path of the layers below. */
export function whiteout(path: string): TarEntrySpec {
  const slash = path.lastIndexOf('/') + 1
  return { path: `${path.slice(0, slash)}.wh.${path.slice(slash)}` }
}

/** An entry that hides all that the layers below have in a directory. */
export function opaque(directory: string): TarEntrySpec {
  return { path: directory === '' ? '.wh..wh..opq' : `${directory}/.wh..wh..opq` }
}

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

export interface BuiltDescriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
}

/** A document of a registry (manifest or index) with all that it names. */
export interface BuiltImage {
  /** Of the manifest or index. */
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
  /** Everything that is pushed as a blob: configs and layers. */
  readonly blobs: ReadonlyMap<Digest, Buffer>
}

export interface BuiltManifest extends BuiltImage {
  readonly platform: Platform
  readonly config: BuiltDescriptor
  readonly layers: readonly BuiltDescriptor[]
}

export interface BuiltIndex extends BuiltImage {
  readonly manifests: readonly BuiltManifest[]
}

export interface ImageSpec {
  readonly layers: readonly BuiltLayer[]
  readonly labels?: Readonly<Record<string, string>>
  readonly platform?: Platform
  /** Whose media types the manifest has. */
  readonly mediaTypes?: 'oci' | 'docker'
}

const MEDIA_TYPES = {
  oci: {
    index: 'application/vnd.oci.image.index.v1+json',
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: {
      none: 'application/vnd.oci.image.layer.v1.tar',
      gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
      zstd: 'application/vnd.oci.image.layer.v1.tar+zstd'
    }
  },
  docker: {
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: {
      none: 'application/vnd.docker.image.rootfs.diff.tar',
      gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
      zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd'
    }
  }
} as const

const LINUX_AMD64: Platform = { os: 'linux', architecture: 'amd64' }
const CREATED = '2020-01-01T00:00:00Z'

/** An image of one platform: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md, config.md. */
export function buildImage({
  layers,
  labels = {},
  platform = LINUX_AMD64,
  mediaTypes = 'oci'
}: ImageSpec): BuiltManifest {
  const types = MEDIA_TYPES[mediaTypes]
  const configBytes = Buffer.from(
    JSON.stringify({
      created: CREATED,
      ...platform,
      config: { Labels: labels },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map(() => ({ created: CREATED }))
    })
  )
  const config = { mediaType: types.config, digest: digestOf(configBytes), size: configBytes.length }
  const descriptors = layers.map(({ digest, size, compression }) => ({
    mediaType: types.layer[compression],
    digest,
    size
  }))
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: types.manifest, config, layers: descriptors })
  )
  return {
    digest: digestOf(bytes),
    mediaType: types.manifest,
    bytes,
    blobs: new Map([[config.digest, configBytes], ...layers.map(({ digest, blob }) => [digest, blob] as const)]),
    platform,
    config,
    layers: descriptors
  }
}

/** An image of several platforms: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md. */
export function buildIndex(
  manifests: readonly BuiltManifest[],
  options: { readonly mediaTypes?: 'oci' | 'docker' } = {}
): BuiltIndex {
  const mediaType = MEDIA_TYPES[options.mediaTypes ?? 'oci'].index
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      manifests: manifests.map((manifest) => ({
        mediaType: manifest.mediaType,
        digest: manifest.digest,
        size: manifest.bytes.length,
        platform: manifest.platform
      }))
    })
  )
  return {
    digest: digestOf(bytes),
    mediaType,
    bytes,
    blobs: new Map(manifests.flatMap(({ blobs }) => [...blobs])),
    manifests
  }
}

/** The documents to push, each after those that it names. */
function documents(image: BuiltManifest | BuiltIndex): readonly BuiltImage[] {
  return 'manifests' in image ? [...image.manifests, image] : [image]
}

/**
 * Writes an image into an OCI layout directory, beside those that are there under other tags:
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md.
 */
export async function writeLayout(directory: string, image: BuiltManifest | BuiltIndex, tag: string): Promise<void> {
  const blobs = join(directory, 'blobs', 'sha256')
  await mkdir(blobs, { recursive: true })
  for (const { digest, bytes } of documents(image)) await writeFile(join(blobs, hexOf(digest)), bytes)
  for (const [digest, bytes] of image.blobs) await writeFile(join(blobs, hexOf(digest)), bytes)
  await writeFile(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  const indexPath = join(directory, 'index.json')
  const others = (await manifestsOf(indexPath)).filter(({ annotations }) => annotations?.[REF_NAME] !== tag)
  const entry = {
    mediaType: image.mediaType,
    digest: image.digest,
    size: image.bytes.length,
    annotations: { [REF_NAME]: tag }
  }
  await writeFile(indexPath, JSON.stringify({ schemaVersion: 2, manifests: [...others, entry] }))
}

const REF_NAME = 'org.opencontainers.image.ref.name'

async function manifestsOf(indexPath: string): Promise<{ annotations?: Record<string, string> }[]> {
  const text = await readFile(indexPath, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '{"manifests":[]}'
    throw error
  })
  return JSON.parse(text).manifests
}

/**
 * Pushes an image to a registry that asks for no sign-in, as the OCI distribution specification says:
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#push. Blobs that are there are not sent again.
 * @param registryUrl such as `http://127.0.0.1:5000`.
 */
export async function pushImage(
  registryUrl: string,
  repository: string,
  tag: string,
  image: BuiltManifest | BuiltIndex
): Promise<void> {
  const base = new URL(`/v2/${repository}/`, registryUrl)
  for (const [digest, bytes] of image.blobs) await pushBlob(base, digest, bytes)
  for (const document of documents(image)) {
    const reference = document.digest === image.digest ? tag : document.digest
    await call(new URL(`manifests/${reference}`, base), {
      method: 'PUT',
      body: document.bytes,
      headers: { 'Content-Type': document.mediaType }
    })
  }
}

async function pushBlob(base: URL, digest: Digest, bytes: Buffer): Promise<void> {
  const present = await fetch(new URL(`blobs/${digest}`, base), { method: 'HEAD' })
  if (present.ok) return
  const upload = await call(new URL('blobs/uploads/', base), { method: 'POST' })
  // Relative or whole, and with a query of its own that has to stay.
  const location = new URL(upload.headers.get('Location') ?? '', base)
  location.searchParams.set('digest', digest)
  await call(location, { method: 'PUT', body: bytes, headers: { 'Content-Type': 'application/octet-stream' } })
}

async function call(url: URL, init: RequestInit): Promise<Response> {
  const response = await fetch(url, init)
  if (!response.ok) {
    throw new Error(`${init.method} ${url.pathname} answered ${response.status}: ${await response.text()}`)
  }
  // Unread bodies hold their connection.
  await response.arrayBuffer()
  return response
}

function compress(archive: Buffer, compression: Compression): Buffer {
  switch (compression) {
    case 'gzip':
      return gzipSync(archive)
    case 'zstd':
      return zstdCompressSync(archive)
    case 'none':
      return archive
  }
}

function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}
