import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../domain/digest.ts'
import { RegistryError } from './errors.ts'
import { type Descriptor, type ImageSource, type Manifest, nameInSource } from './image-source.ts'
import { manifestType } from './manifest-type.ts'
import { DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST } from './media-types.ts'
import { imageConfig, imageIndex, layoutMarker, parseDocument, savedImages } from './schema.ts'
import { indexTar, type TarMember } from './tar-index.ts'

const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
const READ_BYTES = 256 * 1024
const MAX_LISTED = 10

/** An image in a layout or archive. */
export interface ImageLayoutReference {
  /** What `manifest` finds it by: its name as the layout has it (`1.2.3`, `service:1.2.3`), else its digest. */
  readonly reference: string
  readonly digest: Digest
}

export interface ImageLayout extends ImageSource {
  /** The images that it holds, in its order. */
  references(): readonly ImageLayoutReference[]
}

/** Some bytes of a file on disk. */
interface Place extends TarMember {
  readonly file: string
}

/** What a layout holds, however it is packed. */
interface Contents {
  /** By every name that an image has; a name may stand for several. */
  readonly names: readonly ImageLayoutReference[]
  readonly references: readonly ImageLayoutReference[]
  manifest(digest: Digest): Promise<Uint8Array | null>
  blob(digest: Digest): Promise<Place | null>
}

/**
 * Opens images that lie on disk: an OCI layout as a directory or a tar archive
 * (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md), or an archive of `docker save`. Nothing is
 * unpacked, and no file stays open.
 *
 * An archive of `docker save` without an OCI layout holds no manifest: one is made from its `manifest.json`, with a
 * digest of its own, which no registry knows.
 * @throws RegistryError `not-found`, `unauthorized` (the file may not be read), `unsupported` for any other file, or
 * `invalid`.
 */
export async function openImageLayout(path: string): Promise<ImageLayout> {
  const contents = await openContents(path)
  const source = { description: path }

  async function manifest(reference: string, signal?: AbortSignal): Promise<Manifest> {
    signal?.throwIfAborted()
    const name = nameInSource(source, reference)
    const digest = isDigest(reference) ? reference : named(reference)
    const bytes = await contents.manifest(digest)
    if (bytes === null) throw new RegistryError('not-found', `${name} was not found`)
    if (digestOf(bytes, digestAlgorithm(digest)) !== digest) {
      throw new RegistryError('digest-mismatch', `the manifest ${name} does not match its digest`)
    }
    return { digest, mediaType: manifestType(bytes, undefined, name), bytes }
  }

  function named(reference: string): Digest {
    const found = new Set(contents.names.filter((name) => name.reference === reference).map(({ digest }) => digest))
    const [digest] = found
    if (found.size === 1 && digest !== undefined) return digest
    const listed = contents.references.slice(0, MAX_LISTED).map((known) => known.reference)
    throw digest === undefined
      ? new RegistryError(
          'not-found',
          `${reference} was not found in ${path}; it holds ${listed.join(', ') || 'no image'}`
        )
      : new RegistryError('invalid', `${reference} stands for ${found.size} images in ${path}; name one by its digest`)
  }

  async function* blob(descriptor: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const name = nameInSource(source, descriptor.digest)
    const place = await contents.blob(descriptor.digest)
    if (place === null) throw new RegistryError('not-found', `${name} was not found`)
    if (place.size !== descriptor.size) {
      throw new RegistryError(
        'digest-mismatch',
        `${name} does not have the ${descriptor.size} bytes that it should have`
      )
    }
    yield* readPlace(place, signal)
  }

  return { description: path, references: () => contents.references, manifest, blob }
}

async function openContents(path: string): Promise<Contents> {
  try {
    if ((await stat(path)).isDirectory()) {
      return await openOci(path, (inside) => placeInDirectory(path, inside))
    }
    const files = await indexArchive(path)
    const place = async (inside: string): Promise<Place | null> => {
      const member = files.get(inside)
      return member === undefined ? null : { file: path, ...member }
    }
    // Newer versions of `docker save` write both; the layout is the one with the manifests.
    if (files.has('index.json') || !files.has('manifest.json')) return await openOci(path, place)
    return await openSaved(path, place)
  } catch (error) {
    throw fileError(error, path)
  }
}

async function indexArchive(path: string): Promise<ReadonlyMap<string, TarMember>> {
  const file = await open(path)
  try {
    const files = await indexTar(file, path)
    if (files !== null) return files
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0)
    throw new RegistryError(
      'unsupported',
      compressionOf(buffer) === ''
        ? `${path} is neither an OCI layout nor an image archive`
        : `${path} is compressed; an archive is read where its files lie, so decompress it first`
    )
  } finally {
    await file.close()
  }
}

async function placeInDirectory(root: string, inside: string): Promise<Place | null> {
  const file = join(root, inside)
  try {
    const found = await stat(file)
    return found.isFile() ? { file, position: 0, size: found.size } : null
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return null
    throw fileError(error, file)
  }
}

/** The names of an image in an index: the last part as OCI has it, and the whole as containerd and Docker do. */
const NAME_ANNOTATIONS = ['io.containerd.image.name', 'org.opencontainers.image.ref.name'] as const

async function openOci(path: string, place: (inside: string) => Promise<Place | null>): Promise<Contents> {
  const [marker, index] = await Promise.all([place('oci-layout'), place('index.json')])
  if (marker === null || index === null) {
    throw new RegistryError('unsupported', `${path} is neither an OCI layout nor an image archive`)
  }
  parseDocument(layoutMarker, await readDocument(marker, `${path}/oci-layout`), `${path}/oci-layout`)
  const { manifests } = parseDocument(imageIndex, await readDocument(index, `${path}/index.json`), `${path}/index.json`)
  const names: ImageLayoutReference[] = []
  const references: ImageLayoutReference[] = []
  for (const { digest, annotations } of manifests) {
    const own = NAME_ANNOTATIONS.flatMap((key) => annotations?.[key] ?? [])
    names.push(...own.map((reference) => ({ reference, digest })))
    references.push({ reference: own[0] ?? digest, digest })
  }
  // A digest is an algorithm and hexadecimal figures: it cannot lead out of the directory.
  const blob = (digest: Digest) => place(`blobs/${digest.replace(':', '/')}`)
  return {
    names,
    references,
    blob,
    manifest: async (digest) => {
      const found = await blob(digest)
      return found === null ? null : readDocument(found, `${path}@${digest}`)
    }
  }
}

async function openSaved(path: string, place: (inside: string) => Promise<Place | null>): Promise<Contents> {
  const needed = async (inside: string): Promise<Place> => {
    const found = await place(inside.replace(/^\.\//, ''))
    if (found === null)
      throw new RegistryError('invalid', `the archive ${path} lacks ${inside.slice(0, 200)}, which it names`)
    return found
  }
  const listed = await readDocument(await needed('manifest.json'), `${path}/manifest.json`)
  const names: ImageLayoutReference[] = []
  const references: ImageLayoutReference[] = []
  const manifests = new Map<Digest, Uint8Array>()
  const blobs = new Map<Digest, Place>()
  for (const saved of parseDocument(savedImages, listed, `${path}/manifest.json`)) {
    const config = await needed(saved.Config)
    const configBytes = await readDocument(config, `${path}/${saved.Config}`)
    const configDigest = digestOf(configBytes)
    const { rootfs } = parseDocument(imageConfig, configBytes, `${path}/${saved.Config}`)
    const diffIds = rootfs.diff_ids ?? []
    if (diffIds.length !== saved.Layers.length) {
      throw new RegistryError(
        'invalid',
        `an image in ${path} has ${saved.Layers.length} layers, and its config knows ${diffIds.length}`
      )
    }
    blobs.set(configDigest, config)
    const layers: Descriptor[] = []
    for (const [at, diffId] of diffIds.entries()) {
      const layer = await needed(saved.Layers[at] ?? '')
      const descriptor = await describeLayer(layer, diffId)
      blobs.set(descriptor.digest, layer)
      layers.push(descriptor)
    }
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: DOCKER_MANIFEST,
        config: { mediaType: DOCKER_CONFIG, digest: configDigest, size: config.size },
        layers
      })
    )
    const digest = digestOf(manifest)
    manifests.set(digest, manifest)
    const tags = saved.RepoTags ?? []
    for (const tag of tags)
      names.push({ reference: tag, digest }, { reference: tag.slice(tag.lastIndexOf(':') + 1), digest })
    references.push(...(tags.length === 0 ? [digest] : tags).map((reference) => ({ reference, digest })))
  }
  return {
    names,
    references,
    manifest: async (digest) => manifests.get(digest) ?? null,
    blob: async (digest) => blobs.get(digest) ?? null
  }
}

/** The archive knows a layer's diff id only, which is its digest where it is not compressed. */
async function describeLayer(layer: Place, diffId: Digest): Promise<Descriptor> {
  const head: Uint8Array[] = []
  for await (const chunk of readPlace({ ...layer, size: Math.min(layer.size, 4) })) head.push(chunk)
  const compression = compressionOf(Buffer.concat(head))
  if (compression === '') return { mediaType: DOCKER_LAYER, digest: diffId, size: layer.size }
  const hash = createHash('sha256')
  for await (const chunk of readPlace(layer)) hash.update(chunk)
  return { mediaType: `${DOCKER_LAYER}.${compression}`, digest: `sha256:${hash.digest('hex')}`, size: layer.size }
}

/** By the first bytes: https://www.rfc-editor.org/rfc/rfc1952#page-6, https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1 */
function compressionOf(head: Uint8Array): 'gzip' | 'zstd' | '' {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip'
  if (head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd) return 'zstd'
  return ''
}

async function readDocument(place: Place, name: string): Promise<Uint8Array> {
  if (place.size > MAX_DOCUMENT_BYTES) {
    throw new RegistryError(
      'too-large',
      `${name} has ${place.size} bytes, more than the ${MAX_DOCUMENT_BYTES} that are read`
    )
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of readPlace(place)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function* readPlace({ file, position, size }: Place, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
  signal?.throwIfAborted()
  if (size === 0) return
  const stream = createReadStream(file, { start: position, end: position + size - 1, highWaterMark: READ_BYTES })
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      yield chunk
      signal?.throwIfAborted()
    }
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw fileError(error, file)
  } finally {
    stream.destroy()
  }
}

function errno(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

function fileError(error: unknown, path: string): unknown {
  const code = errno(error)
  if (error instanceof RegistryError || typeof code !== 'string') return error
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new RegistryError('not-found', `${path} does not exist`, { cause: error })
  if (code === 'EACCES' || code === 'EPERM')
    return new RegistryError('unauthorized', `${path} may not be read`, { cause: error })
  return new RegistryError('unavailable', `${path} could not be read (${code})`, { cause: error })
}
