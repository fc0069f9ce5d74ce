/** What can be asked about services, artifacts and what is inside them, as the API answers it. */
import { isDigest } from '../domain/digest.ts'
import type { Environments } from '../domain/environment.ts'
import { isReleaseTag } from '../domain/version.ts'
import type { ArtifactRecord, Store } from '../store/port.ts'
import { type ArtifactView, artifactView, filesOf, type ServiceView, serviceView, type TeamView } from './record.ts'

/** Finds the teams of the repository that is named like an image, else like its service. */
export type TeamLookup = (image: string, service: string | null) => readonly TeamView[]

export interface ArtifactQueries {
  /** All services, by name. */
  services(): Promise<ServiceView[]>
  service(name: string): Promise<ServiceView | null>
  /** All artifacts, or those of one image, without their files: by name, then newest version first. */
  artifacts(image?: string): Promise<ArtifactView[]>
  /** One with its files, also when it was deleted. */
  artifact(image: string, tag: string): Promise<ArtifactView | null>
  /** A known artifact as it is shown: with its files. */
  shown(artifact: ArtifactRecord): Promise<ArtifactView>
  /** The images that can be deployed, by name. */
  deployableImages(): Promise<string[]>
  /** The release tags of an image that can be deployed, newest version first; none for an unknown image. */
  deployableTags(image: string): Promise<string[]>
  /** The environments that one may deploy to, in promotion order. */
  deployTargets(): string[]
  /**
   * The content of a kept file as it is in a layer; null where the layer or the path is unknown.
   * @param layer its digest, with or without `sha256:`.
   * @param path with or without a leading slash.
   */
  file(layer: string, path: string): Promise<Uint8Array | null>
}

export interface ArtifactQueriesDeps {
  readonly store: Store
  readonly environments: Environments
  /** Environments that are known, and never offered to deploy to. */
  readonly hiddenEnvironments: readonly string[]
  /** Who owns what, as it is known now: asked once for each answer. */
  teams(): Promise<TeamLookup>
}

/** Every method throws StoreError, and nothing else. */
export function createArtifactQueries(deps: ArtifactQueriesDeps): ArtifactQueries {
  const { store, environments, hiddenEnvironments, teams } = deps

  async function services(name?: string): Promise<ServiceView[]> {
    const teamsOf = await teams()
    return (await store.newestArtifacts(name)).flatMap((artifact) => {
      const { repository, service } = artifact
      return service === null ? [] : [serviceView(artifact, service, teamsOf(repository, service))]
    })
  }

  async function shown(artifact: ArtifactRecord): Promise<ArtifactView> {
    const { manifestDigest, repository, service } = artifact
    const image = manifestDigest === null ? null : await store.image(manifestDigest)
    return artifactView(artifact, { teams: (await teams())(repository, service), files: filesOf(artifact, image) })
  }

  return {
    services: () => services(),
    async service(name) {
      return (await services(name))[0] ?? null
    },
    async artifacts(image) {
      const teamsOf = await teams()
      return (await store.artifacts(image)).map((artifact) =>
        artifactView(artifact, { teams: teamsOf(artifact.repository, artifact.service), files: null })
      )
    },
    async artifact(name, tag) {
      const artifact = await store.artifact(name, tag)
      return artifact === null ? null : shown(artifact)
    },
    shown,
    async deployableImages() {
      return [...(await store.deployableImages())]
    },
    async deployableTags(image) {
      const isDeployable = (artifact: ArtifactRecord) => artifact.service !== null && isReleaseTag(artifact.tag)
      return (await store.artifacts(image)).filter(isDeployable).map(({ tag }) => tag)
    },
    deployTargets: () => environments.names.filter((name) => !hiddenEnvironments.includes(name)),
    async file(layer, path) {
      const digest = layer.includes(':') ? layer : `sha256:${layer}`
      return isDigest(digest) ? store.layerFile(digest, path.replace(/^\/+/, '')) : null
    }
  }
}
