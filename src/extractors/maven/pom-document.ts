import { isUtf8 } from 'node:buffer'
import { SaxesParser } from 'saxes'
import { ExtractorError } from '../extractor-error.ts'

/** Group, artifact and version as they are written, with properties in them. */
export interface Coordinates {
  groupId?: string
  artifactId?: string
  version?: string
}

export interface PomDocument {
  readonly project: Coordinates
  readonly parent: Coordinates
  readonly properties: ReadonlyMap<string, string>
  readonly dependencies: readonly Coordinates[]
  /** Those of `dependencyManagement`: versions for dependencies that state none. */
  readonly managed: readonly Coordinates[]
}

// A person wrote it: the largest in use have some hundred kilobytes, and eight levels.
const MAX_BYTES = 4 * 2 ** 20
const MAX_DEPTH = 100
const MAX_TEXT_LENGTH = 1000
const DECLARED_ENCODING = /^<\?xml[^>]*\sencoding\s*=\s*["']([A-Za-z][\w.-]*)["']/

const DEPENDENCY = 'project/dependencies/dependency'
const MANAGED = 'project/dependencyManagement/dependencies/dependency'
const PROPERTIES = 'project/properties'

/**
 * Reads the parts of a `pom.xml` that name packages: https://maven.apache.org/ref/current/maven-model/maven.html.
 * Nothing in the document makes the reader open anything else, and no entity but XML's own five is expanded.
 * @throws ExtractorError `limit`, `encoding`, `malformed`.
 */
export function readPom(content: Uint8Array): PomDocument {
  if (content.length > MAX_BYTES) throw new ExtractorError('limit', `has more than ${MAX_BYTES} bytes`)
  const project: Coordinates = {}
  const parent: Coordinates = {}
  const properties = new Map<string, string>()
  const dependencies: Coordinates[] = []
  const managed: Coordinates[] = []
  const path: string[] = []
  let text = ''

  function opened(name: string): void {
    if (path.length >= MAX_DEPTH) throw new ExtractorError('limit', `is nested deeper than ${MAX_DEPTH} elements`)
    if (path.length === 0 && name !== 'project') throw new ExtractorError('malformed', 'is no Maven project')
    path.push(name)
    text = ''
    const place = path.join('/')
    if (place === DEPENDENCY) dependencies.push({})
    else if (place === MANAGED) managed.push({})
  }

  function closed(): void {
    const name = path.pop() ?? ''
    const value = text.trim()
    text = ''
    if (value === '' || value.length > MAX_TEXT_LENGTH) return
    const place = path.join('/')
    if (place === PROPERTIES) properties.set(name, value)
    const coordinates = coordinatesAt(place)
    if (coordinates !== undefined && (name === 'groupId' || name === 'artifactId' || name === 'version')) {
      coordinates[name] = value
    }
  }

  function coordinatesAt(place: string): Coordinates | undefined {
    if (place === 'project') return project
    if (place === 'project/parent') return parent
    if (place === DEPENDENCY) return dependencies.at(-1)
    if (place === MANAGED) return managed.at(-1)
    return undefined
  }

  const parser = new SaxesParser()
  parser.on('opentag', ({ name }) => opened(name))
  parser.on('closetag', closed)
  const more = (piece: string) => {
    if (text.length <= MAX_TEXT_LENGTH) text += piece
  }
  parser.on('text', more)
  parser.on('cdata', more)
  parser.on('error', (error) => {
    // Maven knows HTML's names for letters besides, and what a document declares is not read: either stays as it is written.
    if (error.message.endsWith('undefined entity.')) return
    throw new ExtractorError('malformed', 'is no well-formed XML', { cause: error })
  })
  parser.write(decodeXml(content)).close()
  return { project, parent, properties, dependencies, managed }
}

/** The text of a document in UTF-8, or in the encoding that it declares. */
function decodeXml(content: Uint8Array): string {
  const declared = DECLARED_ENCODING.exec(Buffer.from(content.subarray(0, 200)).toString('latin1'))?.[1] ?? 'utf-8'
  if (declared.toLowerCase() === 'utf-8' && !isUtf8(content)) throw new ExtractorError('encoding', 'is not UTF-8')
  try {
    return new TextDecoder(declared).decode(content)
  } catch (error) {
    throw new ExtractorError('encoding', 'declares an encoding that is not known', { cause: error })
  }
}
