/** Services and artifacts as the API shows them: every field present, `null` where nothing is known. */
import { packVersion } from '../domain/version.ts'
import type { ArtifactRecord, ImageRecord, ScanState } from '../store/port.ts'

/** A team that owns a repository. */
export interface TeamView {
  /** Its name on GitHub. */
  readonly github: string
  readonly teamId: string | null
  readonly name: string | null
}

export interface ServiceView {
  readonly serviceName: string
  /** The label unchanged. */
  readonly githubUrl: string | null
  readonly imageName: string
  readonly teams: TeamView[]
}

export interface FileView {
  /** The last part of `path`. */
  readonly fileName: string
  /** From the root of the image's file system, without a leading slash. */
  readonly path: string
  /** The layer that it is in, with its `sha256:` prefix. */
  readonly layerSha256: string
}

export interface ArtifactView {
  /** When it was first scanned; when it was made, for a placeholder. ISO 8601 UTC. */
  readonly created: string
  readonly repo: string
  readonly tag: string
  /** The digest of the image's config with its `sha256:` prefix; empty for a placeholder. */
  readonly sha256: string
  readonly githubUrl: string | null
  readonly serviceName: string | null
  readonly scannerVersion: number
  readonly teams: TeamView[]
  /** Those of the final file system; null in lists, and while the layers are not read. */
  readonly files: FileView[] | null
  /** Major, minor and patch in 16 bits each; null where a part is above 65535 or the tag is no release. */
  readonly semVer: number | null
  /** The digest that the tag names: an index's or a manifest's. */
  readonly digest: string | null
  readonly scan: ScanState
  /** Why it was not read, or not wholly: a sentence. */
  readonly scanError: string | null
  /** When the tag was deleted; null while it stands. */
  readonly deletedAt: string | null
}

/** The files of an image: null while its layers are not read. A placeholder has none. */
export function filesOf(artifact: ArtifactRecord, image: ImageRecord | null): FileView[] | null {
  if (artifact.placeholder) return []
  if (image === null || image.scan === 'pending' || image.scan === 'failed') return null
  return image.files.map(({ path, layer }) => ({
    fileName: path.slice(path.lastIndexOf('/') + 1),
    path,
    layerSha256: layer
  }))
}

/** The record of an artifact. */
export function artifactView(
  artifact: ArtifactRecord,
  { teams, files }: { readonly teams: readonly TeamView[]; readonly files: FileView[] | null }
): ArtifactView {
  return {
    created: new Date(artifact.createdAt).toISOString(),
    repo: artifact.repository,
    tag: artifact.tag,
    sha256: artifact.configDigest ?? '',
    githubUrl: artifact.gitUrl,
    serviceName: artifact.service,
    scannerVersion: artifact.scannerVersion,
    teams: [...teams],
    files,
    semVer: packVersion(artifact.tag),
    digest: artifact.digest,
    scan: artifact.scan,
    scanError: artifact.scanError,
    deletedAt: artifact.deletedAt === null ? null : new Date(artifact.deletedAt).toISOString()
  }
}

/** The record of a service, from its newest artifact. */
export function serviceView(artifact: ArtifactRecord, service: string, teams: readonly TeamView[]): ServiceView {
  return { serviceName: service, githubUrl: artifact.gitUrl, imageName: artifact.repository, teams: [...teams] }
}
