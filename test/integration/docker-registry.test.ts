import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../src/domain/digest.ts'
import { createRegistry, type ImageSource, type Registry, readBlob, resolveImage } from '../../src/registry/registry.ts'
import { OCI_INDEX, OCI_MANIFEST, type TinyImage, tinyImage } from '../fakes/tiny-image.ts'
import { requirePart } from '../parts.ts'

const url = requirePart('docker-registry', process.env.DOCKER_REGISTRY_URL)

async function send(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(new URL(path, url ?? undefined), init)
  if (!response.ok) throw new Error(`${init.method} ${path}: ${response.status} ${await response.text()}`)
  return response
}

async function pushBlob(repository: string, content: Buffer): Promise<void> {
  const begun = await send(`/v2/${repository}/blobs/uploads/`, { method: 'POST' })
  const location = new URL(begun.headers.get('location') ?? '', url ?? undefined)
  location.searchParams.set('digest', digestOf(content))
  await send(location.href, { method: 'PUT', body: Uint8Array.from(content) })
}

async function pushManifest(repository: string, reference: string, manifest: object, mediaType: string): Promise<void> {
  const headers = { 'content-type': mediaType }
  await send(`/v2/${repository}/manifests/${reference}`, { method: 'PUT', headers, body: JSON.stringify(manifest) })
}

async function push(repository: string, reference: string, image: TinyImage): Promise<void> {
  for (const content of image.blobs.values()) await pushBlob(repository, content)
  await pushManifest(repository, reference, image.manifest, OCI_MANIFEST)
}

describe.skipIf(url === null)('Debian’s docker-registry', () => {
  // Of its own for each run: the registry may be kept between runs, and another client may use it.
  const repository = `test/${randomUUID()}`
  const layer = randomBytes(2_000_000)
  const image = tinyImage({ layers: [layer] })
  let registry: Registry
  let source: ImageSource

  beforeAll(async () => {
    registry = createRegistry({ url: url ?? '' })
    source = registry.image(repository)
    await push(repository, '1.0.0', image)
  })

  afterAll(() => registry.close())

  it('gives back an image that was pushed to it', async () => {
    const resolved = await resolveImage(source, '1.0.0')
    expect(resolved).toMatchObject({
      digest: digestOf(JSON.stringify(image.manifest)),
      config: { digest: image.config.digest, labels: { 'defra.cdp.service.name': 'service' } },
      layers: [{ diffId: digestOf(layer), size: layer.length }]
    })
    const bytes = await readBlob(source, resolved.layers[0]!, layer.length)
    expect(layer.equals(bytes)).toBe(true)
  })

  it('gives the image of an index', async () => {
    const digest = digestOf(JSON.stringify(image.manifest))
    const size = JSON.stringify(image.manifest).length
    const platform = { os: 'linux', architecture: 'amd64' }
    const manifests = [{ mediaType: OCI_MANIFEST, digest, size, platform }]
    await pushManifest(repository, '2.0.0', { schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX)
    expect((await resolveImage(source, '2.0.0')).manifestDigest).toBe(digest)
  })

  it('lists it, over its pages', async () => {
    expect(await Array.fromAsync(registry.repositories())).toContain(repository)
    expect(await Array.fromAsync(registry.tags(repository))).toEqual(expect.arrayContaining(['1.0.0']))
  })

  it('says what it has not', async () => {
    await expect(source.manifest('9.9.9')).rejects.toMatchObject({ code: 'not-found' })
    await expect(registry.image('test/nothing').manifest('1.0.0')).rejects.toMatchObject({ code: 'not-found' })
    const missing = { mediaType: 'application/octet-stream', digest: digestOf('nothing'), size: 7 }
    await expect(readBlob(source, missing, 100)).rejects.toMatchObject({ code: 'not-found' })
  })
})
