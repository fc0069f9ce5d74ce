import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../src/domain/digest.ts'
import { type FakeRegistry, type StoredDescriptor, startRegistry } from '../../test/fakes/registry.ts'
import {
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  putImage,
  type TinyImageOptions,
  tinyImage
} from '../../test/fakes/tiny-image.ts'
import { createRegistry, type Registry } from './client.ts'
import type { ImageSource } from './image-source.ts'
import { type Platform, resolveImage } from './resolve-image.ts'

let fake: FakeRegistry
let registry: Registry
let source: ImageSource

beforeEach(async () => {
  fake = await startRegistry()
  registry = createRegistry({ url: fake.url })
  source = registry.image('service')
})

afterEach(async () => {
  await registry.close()
  await fake.close()
})

/** Stores an image for a platform, by its digest, and describes it as an index does. */
function put(platform: Platform | null, options: TinyImageOptions = {}) {
  const image = tinyImage({
    layers: [JSON.stringify(platform)],
    ...options,
    config: { ...platform, ...options.config }
  })
  return { ...putImage(fake, 'service', null, image), ...(platform === null ? {} : { platform }) }
}

function index(manifests: readonly object[], reference: string | null = '1.0.0'): StoredDescriptor {
  return fake.putManifest('service', reference, { schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX)
}

const amd64 = { os: 'linux', architecture: 'amd64' }
const arm64 = { os: 'linux', architecture: 'arm64' }
const attestation = { os: 'unknown', architecture: 'unknown' }

describe('an image', () => {
  it('is its manifest, its config and its layers with their diff ids', async () => {
    const image = tinyImage({
      layers: ['lower', 'upper'],
      config: {
        created: '2026-01-02T04:04:05.123456789+01:00',
        history: [{ empty_layer: true }, {}, {}],
        config: { Labels: { 'defra.cdp.service.name': 'name', empty: '' } }
      }
    })
    const stored = putImage(fake, 'service', '1.0.0', image)
    expect(await resolveImage(source, '1.0.0')).toEqual({
      digest: stored.digest,
      digests: [stored.digest],
      manifestDigest: stored.digest,
      mediaType: OCI_MANIFEST,
      platform: amd64,
      config: {
        digest: image.config.digest,
        labels: { 'defra.cdp.service.name': 'name', empty: '' },
        created: '2026-01-02T03:04:05.123Z'
      },
      layers: [
        { ...image.layers[0], diffId: digestOf('lower') },
        { ...image.layers[1], diffId: digestOf('upper') }
      ]
    })
  })

  it.each([
    ['no labels', { config: { Labels: null } }],
    ['no container config', { config: null }],
    ['no time that can be read', { created: 'yesterday', config: {} }]
  ])('may have %s', async (_what, config) => {
    putImage(fake, 'service', '1.0.0', tinyImage({ config }))
    expect((await resolveImage(source, '1.0.0')).config).toMatchObject({ labels: {}, created: null })
  })

  it('may have no layers', async () => {
    const config = { rootfs: { type: 'layers', diff_ids: null } }
    putImage(fake, 'service', '1.0.0', tinyImage({ layers: [], config }))
    expect((await resolveImage(source, '1.0.0')).layers).toEqual([])
  })

  it('of another platform is taken, since there is no other, unless one is asked for', async () => {
    putImage(fake, 'service', '1.0.0', tinyImage({ config: { architecture: 'arm64', variant: 'v8' } }))
    expect((await resolveImage(source, '1.0.0')).platform).toEqual({ ...arm64, variant: 'v8' })
    expect((await resolveImage(source, '1.0.0', { platform: arm64 })).platform.architecture).toBe('arm64')
    await expect(resolveImage(source, '1.0.0', { platform: amd64 })).rejects.toMatchObject({
      code: 'unsupported',
      message: `${source.description}:1.0.0 is for linux/arm64/v8, not for linux/amd64`
    })
  })

  it.each([
    ['fewer diff ids than layers', { rootfs: { diff_ids: [] } }],
    ['a diff id that is no digest', { rootfs: { diff_ids: ['md5:x'] } }],
    ['a label that is no text', { config: { Labels: { count: 1 } } }],
    ['too many labels', { config: { Labels: Object.fromEntries(Array.from({ length: 1_001 }, (_, at) => [at, ''])) } }],
    ['a label that is too long', { config: { Labels: { long: 'x'.repeat(1024 * 1024 + 1) } } }],
    ['no operating system', { os: undefined }],
    ['no root file system', { rootfs: undefined }]
  ])('is invalid with %s', async (_what, config) => {
    putImage(fake, 'service', '1.0.0', tinyImage({ config }))
    await expect(resolveImage(source, '1.0.0')).rejects.toMatchObject({ code: 'invalid' })
  })

  it.each([
    ['a layer without a size', { layers: [{ mediaType: OCI_LAYER, digest: digestOf('') }] }],
    ['a size below nothing', { layers: [{ mediaType: OCI_LAYER, digest: digestOf(''), size: -1 }] }],
    ['a digest that leads elsewhere', { layers: [{ mediaType: OCI_LAYER, digest: 'sha256:../../x', size: 1 }] }],
    ['no config', { config: undefined }]
  ])('is invalid with %s', async (_what, manifest) => {
    putImage(fake, 'service', '1.0.0', tinyImage({ manifest }))
    await expect(resolveImage(source, '1.0.0')).rejects.toMatchObject({ code: 'invalid' })
  })

  it('says where a document is at fault', async () => {
    putImage(fake, 'service', '1.0.0', tinyImage({ config: { config: { Labels: { ['x'.repeat(500)]: 1 } } } }))
    await expect(resolveImage(source, '1.0.0')).rejects.toThrow(
      /^the config of \S+:1\.0\.0 is not valid, at config\.Labels\.x{86}: Invalid input: expected string/
    )
  })

  it('is not read where its config is larger than any', async () => {
    const config = { ...tinyImage().config, size: 8 * 1024 * 1024 + 1 }
    putImage(fake, 'service', '1.0.0', tinyImage({ manifest: { config } }))
    await expect(resolveImage(source, '1.0.0')).rejects.toMatchObject({ code: 'too-large' })
  })
})

describe('what is no container image', () => {
  it.each([
    ['a Helm chart', { configType: 'application/vnd.cncf.helm.config.v1+json' }],
    ['an artifact', { configType: 'application/vnd.oci.empty.v1+json' }],
    ['a signature', { layerType: 'application/vnd.dev.cosign.simplesigning.v1+json' }],
    ['an attestation', { layerType: 'application/vnd.in-toto+json' }],
    ['an encrypted image', { layerType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted' }]
  ])('is unsupported: %s', async (_what, options) => {
    putImage(fake, 'service', '1.0.0', tinyImage(options))
    await expect(resolveImage(source, '1.0.0')).rejects.toMatchObject({
      code: 'unsupported',
      message: `${source.description}:1.0.0 is no container image: it holds ${Object.values(options)[0]}`
    })
  })

  it('is unsupported where nothing says what it is', async () => {
    fake.putManifest('service', '1.0.0', { hello: 'world' }, 'text/plain')
    await expect(resolveImage(source, '1.0.0')).rejects.toMatchObject({ code: 'unsupported' })
  })

  it.each([
    'application/vnd.docker.image.rootfs.diff.tar',
    'application/vnd.docker.image.rootfs.diff.tar.gzip',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    'application/vnd.oci.image.layer.v1.tar',
    'application/vnd.oci.image.layer.v1.tar+gzip',
    'application/vnd.oci.image.layer.v1.tar+zstd',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
  ])('is not an image with layers of %s', async (layerType) => {
    const configType = 'application/vnd.docker.container.image.v1+json'
    putImage(fake, 'service', '1.0.0', tinyImage({ layerType, configType }))
    expect((await resolveImage(source, '1.0.0')).layers[0]?.mediaType).toBe(layerType)
  })
})

describe('an index', () => {
  it('is its linux/amd64 image, with the digests of all that may stand for it', async () => {
    const [arm, amd, windows] = [put(arm64), put(amd64), put({ os: 'windows', architecture: 'amd64' })]
    const attached = put(attestation)
    const top = index([attached, arm, amd, windows])
    const image = await resolveImage(source, '1.0.0')
    expect(image).toMatchObject({ digest: top.digest, manifestDigest: amd.digest, platform: amd64 })
    expect(image.digests).toEqual([top.digest, arm.digest, amd.digest, windows.digest])
  })

  it('is the image of the platform that is asked for', async () => {
    const arm = put({ ...arm64, variant: 'v8' })
    index([put(amd64), arm])
    for (const platform of [arm64, { ...arm64, variant: 'v8' }]) {
      expect((await resolveImage(source, '1.0.0', { platform })).manifestDigest).toBe(arm.digest)
    }
    await expect(
      resolveImage(source, '1.0.0', { platform: { os: 'linux', architecture: 's390x' } })
    ).rejects.toMatchObject({
      code: 'unsupported',
      message: `${source.description}:1.0.0 has no image for linux/s390x; it has linux/amd64, linux/arm64/v8`
    })
  })

  it('is the plain variant before others', async () => {
    const [v3, v1] = [put({ ...amd64, variant: 'v3' }), put({ ...amd64, variant: 'v1' })]
    index([v3, v1])
    expect((await resolveImage(source, '1.0.0')).manifestDigest).toBe(v1.digest)
    const platform = { ...amd64, variant: 'v3' }
    expect((await resolveImage(source, '1.0.0', { platform })).manifestDigest).toBe(v3.digest)
  })

  it('is its only image where no platform is asked for', async () => {
    const arm = put(arm64)
    index([arm, put(attestation)])
    expect((await resolveImage(source, '1.0.0')).manifestDigest).toBe(arm.digest)
    await expect(resolveImage(source, '1.0.0', { platform: amd64 })).rejects.toMatchObject({ code: 'unsupported' })
    index([arm, put({ os: 'windows', architecture: 'amd64' })], '2.0.0')
    await expect(resolveImage(source, '2.0.0')).rejects.toMatchObject({ code: 'unsupported' })
  })

  it('is an image without a platform where none fits', async () => {
    const plain = put(null)
    index([put(arm64), plain])
    expect((await resolveImage(source, '1.0.0')).manifestDigest).toBe(plain.digest)
  })

  it('skips attestations, by their annotation, too', async () => {
    const annotations = { 'vnd.docker.reference.type': 'attestation-manifest' }
    const attached = { ...put({ ...amd64 }, { layers: ['attested'] }), annotations }
    const amd = put(amd64)
    const top = index([attached, amd])
    const image = await resolveImage(source, '1.0.0')
    expect([image.manifestDigest, image.digests]).toEqual([amd.digest, [top.digest, amd.digest]])
  })

  it('may hold other indexes', async () => {
    const [arm, amd] = [put(arm64), put(amd64)]
    const inner = index([amd], null)
    const top = index([arm, inner])
    const image = await resolveImage(source, '1.0.0')
    expect(image).toMatchObject({
      manifestDigest: amd.digest,
      digests: [top.digest, arm.digest, inner.digest, amd.digest]
    })
  })

  it('that holds indexes too deep or too many is invalid', async () => {
    let inner = index([put(amd64)], null)
    for (let depth = 0; depth < 2; depth++) inner = index([inner], depth === 1 ? 'deep' : null)
    await resolveImage(source, 'deep')
    index([inner], 'deeper')
    await expect(resolveImage(source, 'deeper')).rejects.toMatchObject({ code: 'invalid' })
    const many = Array.from({ length: 20 }, (_, at) => index([{ ...put(amd64), annotations: { at: `${at}` } }], null))
    index(many, 'many')
    await expect(resolveImage(source, 'many')).rejects.toMatchObject({ code: 'invalid' })
  })

  it('without an image is unsupported', async () => {
    index([])
    await expect(resolveImage(source, '1.0.0')).rejects.toMatchObject({
      code: 'unsupported',
      message: `${source.description}:1.0.0 has no image for linux/amd64`
    })
  })

  it('that names what is no image is unsupported', async () => {
    index([{ ...put(amd64, { configType: 'application/vnd.cncf.helm.config.v1+json' }) }])
    await expect(resolveImage(source, '1.0.0')).rejects.toMatchObject({ code: 'unsupported' })
  })

  it('that is too long is invalid', async () => {
    const entry = { mediaType: OCI_CONFIG, digest: digestOf(''), size: 0 }
    index(Array.from({ length: 1_001 }, () => entry))
    await expect(resolveImage(source, '1.0.0')).rejects.toMatchObject({ code: 'invalid' })
  })
})
