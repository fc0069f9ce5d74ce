/** An image as somebody writes it on a command line. */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ImagePlace } from '../compose.ts'
import { parseImageReference } from '../domain/image-reference.ts'

/** As skopeo and podman write where an image lies: https://github.com/containers/image/blob/main/docs/containers-transports.5.md */
const ON_DISK = /^(?:oci|oci-archive|docker-archive):(.+)$/s
const IN_A_REGISTRY = /^docker:\/\/(.+)$/s
const PATH = /^(?:\/|\.\.?(?:\/|$))/

/**
 * Reads where an image lies: `[host/]name:tag`, `[host/]name@sha256:…`, or a path with or without `:tag`; also with the
 * words of skopeo before it (`docker://`, `oci:`, `oci-archive:`, `docker-archive:`).
 *
 * What begins with `/`, `./` or `../` is a path. Any other text is one where it names an archive or OCI layout that is
 * there: a folder that happens to be called like an image hides no image.
 * @returns null where it cannot be understood.
 */
export function parseImageArgument(text: string): ImagePlace | null {
  const onDisk = ON_DISK.exec(text)?.[1]
  if (onDisk !== undefined) return layoutPlace(onDisk, existsSync) ?? { kind: 'layout', ...split(onDisk) }
  const inRegistry = IN_A_REGISTRY.exec(text)?.[1]
  if (inRegistry !== undefined) return registryPlace(inRegistry)
  if (PATH.test(text)) return layoutPlace(text, existsSync) ?? { kind: 'layout', ...split(text) }
  return layoutPlace(text, isImageOnDisk) ?? registryPlace(text)
}

function registryPlace(text: string): ImagePlace | null {
  const image = parseImageReference(text)
  const reference = image?.digest ?? image?.tag ?? null
  if (image === null || reference === null) return null
  return { kind: 'registry', host: image.host, repository: image.repository, reference }
}

/** The longest beginning that is there, with what follows its colon: a path may hold colons, a reference in it too. */
function layoutPlace(text: string, isThere: (path: string) => boolean): ImagePlace | null {
  for (let end = text.length; end > 0; end = text.lastIndexOf(':', end - 1)) {
    const path = text.slice(0, end)
    if (isThere(path)) return { kind: 'layout', path, reference: text.slice(end + 1) || null }
  }
  return null
}

/** A path that is not there, so that the message names it without its tag. */
function split(text: string): { path: string; reference: string | null } {
  const colon = text.indexOf(':', text.lastIndexOf('/') + 1)
  return colon < 1
    ? { path: text, reference: null }
    : { path: text.slice(0, colon), reference: text.slice(colon + 1) || null }
}

function isImageOnDisk(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false })
  return found?.isFile() === true || existsSync(join(path, 'oci-layout'))
}
