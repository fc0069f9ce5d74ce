import { type Extractor, fileName } from '../extractor.ts'
import { createFoundPackages } from '../found-packages.ts'
import { type Coordinates, type PomDocument, readPom } from './pom-document.ts'

const FILE = 'pom.xml'
// https://maven.apache.org/pom.html#maven-coordinates; a version that is a range ("[1,2)") is none.
const ID = /^[\w.-]{1,256}$/
const VERSION = /^[\w.+-]{1,256}$/
const PROPERTY = /\$\{([^${}]+)\}/g
const MAX_PROPERTY_DEPTH = 20
const MAX_RESOLVED_LENGTH = 1000

/**
 * `pom.xml`: the project itself and what it depends on, all `declared`. A version comes from the dependency, else from
 * `dependencyManagement`, with the properties of this file put in; what only a parent elsewhere knows is left out.
 */
export const pomXml: Extractor = {
  name: 'maven-pom',
  version: 1,
  wants: ({ path }) => fileName(path) === FILE,
  serves: (path) => fileName(path) === FILE,
  extract(content) {
    const pom = readPom(content)
    const resolve = createResolver(pom)
    const packages = createFoundPackages()
    const managed = new Map(pom.managed.map((entry) => [keyOf(entry), entry.version]))

    function keyOf({ groupId, artifactId }: Coordinates): string {
      return `${resolve(groupId)}:${resolve(artifactId)}`
    }

    function add({ groupId, artifactId, version }: Coordinates): void {
      const [group, artifact, resolved] = [resolve(groupId), resolve(artifactId), resolve(version)]
      if (ID.test(group) && ID.test(artifact) && VERSION.test(resolved)) {
        packages.add('maven', group, artifact, resolved, 'declared')
      }
    }

    add(ownCoordinates(pom))
    for (const dependency of pom.dependencies) {
      add({ ...dependency, version: dependency.version ?? managed.get(keyOf(dependency)) })
    }
    return packages.extraction()
  }
}

/** Group and version are the parent's where the project states none. */
function ownCoordinates({ project, parent }: PomDocument): Coordinates {
  return { ...project, groupId: project.groupId ?? parent.groupId, version: project.version ?? parent.version }
}

/** Puts properties in; what cannot be resolved keeps its `${…}`, and is thereby no valid id or version. */
function createResolver(pom: PomDocument): (text: string | undefined) => string {
  const own = ownCoordinates(pom)
  // A later one wins: the model's own names over properties, and these over the model's without a prefix.
  const values = new Map([
    ...prefixed('', own),
    ...pom.properties,
    ...prefixed('project.', own),
    ...prefixed('pom.', own),
    ...prefixed('project.parent.', pom.parent),
    ...prefixed('parent.', pom.parent)
  ])
  // Each is worked out once: properties made of properties would otherwise take exponential time.
  const resolved = new Map<string, string>()

  function resolve(text: string, depth: number): string {
    let length = 0
    return text.replace(PROPERTY, (written, name: string) => {
      const value = depth < MAX_PROPERTY_DEPTH ? property(name, depth) : undefined
      length += value?.length ?? 0
      return value === undefined || length > MAX_RESOLVED_LENGTH ? written : value
    })
  }

  function property(name: string, depth: number): string | undefined {
    const known = resolved.get(name)
    if (known !== undefined) return known
    const value = values.get(name)
    if (value === undefined) return undefined
    const result = resolve(value, depth + 1)
    resolved.set(name, result)
    return result
  }

  return (text) => (text === undefined ? '' : resolve(text, 0))
}

function prefixed(prefix: string, coordinates: Coordinates): [string, string][] {
  return Object.entries(coordinates)
    .filter(([, value]) => value !== undefined)
    .map(([field, value]) => [prefix + field, value])
}
