/**
 * The media types of manifests and what they hold.
 * OCI: https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md
 * Docker: https://distribution.github.io/distribution/spec/manifest-v2-2/#media-types
 */
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json'
export const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar'

/** What a manifest is asked for as; a registry that has an image in one of these forms must not be told it has none. */
export const MANIFEST_TYPES: readonly string[] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST]

const INDEX_TYPES: ReadonlySet<string> = new Set([OCI_INDEX, DOCKER_LIST])
const IMAGE_TYPES: ReadonlySet<string> = new Set([OCI_MANIFEST, DOCKER_MANIFEST])
const CONFIG_TYPES: ReadonlySet<string> = new Set([OCI_CONFIG, DOCKER_CONFIG])

// Tar archives, plain or compressed; "foreign" and "nondistributable" ones are layers that lie elsewhere.
const LAYER =
  /^application\/vnd\.(?:docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.gzip|\.zstd)?|oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip|\+zstd)?)$/

/** A list of manifests, one per platform. */
export function isIndexType(mediaType: string): boolean {
  return INDEX_TYPES.has(mediaType)
}

/** The manifest of one image or artifact. */
export function isManifestType(mediaType: string): boolean {
  return IMAGE_TYPES.has(mediaType)
}

/** The config of a container image, not of a chart, a signature or a build cache. */
export function isImageConfigType(mediaType: string): boolean {
  return CONFIG_TYPES.has(mediaType)
}

/** A layer of a container image's file system. */
export function isLayerType(mediaType: string): boolean {
  return LAYER.test(mediaType)
}
