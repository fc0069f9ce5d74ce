import { type Digest, digestOf } from '../../src/domain/digest.ts'
import type { FakeRegistry, StoredDescriptor } from './registry.ts'

/** An image whose layers are any bytes, for tests that look at everything but what is inside them. */
export interface TinyImage {
  readonly blobs: ReadonlyMap<Digest, Buffer>
  readonly config: StoredDescriptor
  readonly layers: readonly StoredDescriptor[]
  readonly manifest: {
    readonly schemaVersion: 2
    readonly mediaType: string
    readonly config: StoredDescriptor
    readonly layers: readonly StoredDescriptor[]
  }
}

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar'

export interface TinyImageOptions {
  readonly layers?: readonly (string | Buffer)[]
  /** Laid over the config. */
  readonly config?: object
  readonly configType?: string
  readonly layerType?: string
  /** Laid over the manifest. */
  readonly manifest?: object
}

export function tinyImage(options: TinyImageOptions = {}): TinyImage {
  const { layers = ['layer'], config = {}, configType = OCI_CONFIG, layerType = OCI_LAYER, manifest = {} } = options
  const contents = layers.map((layer) => Buffer.from(layer))
  const configBytes = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      config: { Labels: { 'defra.cdp.service.name': 'service' } },
      rootfs: { type: 'layers', diff_ids: contents.map((content) => digestOf(content)) },
      ...config
    })
  )
  const configDescriptor = describe(configBytes, configType)
  const layerDescriptors = contents.map((content) => describe(content, layerType))
  return {
    blobs: new Map([configBytes, ...contents].map((content) => [digestOf(content), content])),
    config: configDescriptor,
    layers: layerDescriptors,
    manifest: {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: configDescriptor,
      layers: layerDescriptors,
      ...manifest
    }
  }
}

export function describe(bytes: Buffer, mediaType: string): StoredDescriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length }
}

/** Stores an image in a fake registry, under a tag or by its digest alone. */
export function putImage(
  registry: FakeRegistry,
  repository: string,
  tag: string | null,
  image: TinyImage
): StoredDescriptor {
  for (const content of image.blobs.values()) registry.putBlob(repository, content)
  return registry.putManifest(repository, tag, image.manifest, image.manifest.mediaType)
}
