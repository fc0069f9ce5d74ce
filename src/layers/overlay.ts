import { LayerError } from './layer-error.ts'
import { DEFAULT_OVERLAY_LIMITS, type OverlayLimits } from './limits.ts'
import type { LayerEntry } from './listing.ts'
import { createProblems, type LayerProblem } from './problems.ts'

/** A path of an image's final file system. */
export interface OverlayFile {
  readonly path: string
  /** A hard link is the file (or link, or device) that it leads to. */
  readonly type: 'file' | 'directory' | 'symlink' | 'other'
  /** The index of the layer that put this path here, the lowest being 0. */
  readonly layer: number
  readonly size: number
  /** Of a symbolic link, as written. */
  readonly linkTarget: string | null
  /**
   * The layer whose archive has the content, and the entry's path there: another path than this one for a hard link, and for
   * what a layer wrote through a symbolic link to a directory. Null for everything that is no file, and for a hard link
   * to nothing.
   */
  readonly content: { readonly layer: number; readonly path: string } | null
}

export interface Overlay {
  readonly files: ReadonlyMap<string, OverlayFile>
  /** Entries that no runtime could unpack. */
  readonly problems: readonly LayerProblem[]
}

interface Leaf {
  readonly kind: 'leaf'
  readonly type: 'file' | 'symlink' | 'other'
  readonly layer: number
  readonly size: number
  readonly linkTarget: string | null
  readonly content: OverlayFile['content']
}

interface Directory {
  readonly kind: 'directory'
  layer: number
  readonly children: Map<string, Node>
  /** The last layer that took out of it what was below; it need not be walked twice for one layer. */
  clearedFor: number
}

type Node = Leaf | Directory

// What Linux follows in one path before it says ELOOP.
const MAX_LINKS = 40
// Deeper than any path of 4096 bytes. Links could lead ever deeper, and what walks the tree here calls itself.
const MAX_DEPTH = 2048
const METADATA = '.wh..wh.'

/**
 * Puts the layers of an image on top of each other, lowest first, as the container runtimes do
 * (https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#applying-changesets):
 *
 * - A whiteout removes a path and all below it, an opaque marker what is in a directory; both only what came with the layers
 *   below, so that the order inside a layer does not matter to them.
 * - A directory on a directory merges; anything else replaces what was there. In one layer a later entry wins.
 * - A path through a symbolic link goes where the link leads, since runtimes unpack on the file system that the layers below
 *   made. Links are resolved inside the image: `..` at its root stays there. A directory that nobody made is made.
 * - A hard link shares the content that its target has at that moment, in the same layer or below.
 * - `.wh..wh.` names other than the marker are metadata of AUFS: links may lead to them, the final file system lacks them.
 *
 * @throws LayerError `limit`.
 */
export function overlay(layers: readonly (readonly LayerEntry[])[], options: Partial<OverlayLimits> = {}): Overlay {
  const limits: OverlayLimits = { ...DEFAULT_OVERLAY_LIMITS, ...options }
  const problems = createProblems(limits.problems)
  const tree = createTree(limits)
  for (const [layer, entries] of layers.entries()) {
    const markers = entries.filter(({ type }) => type === 'whiteout' || type === 'opaque')
    const removed = new Set(markers.filter(({ type }) => type === 'whiteout').map(({ path }) => path))
    const root = tree.asOf(layer, removed)
    // Markers come last, wherever they stand: they spare what this layer brought, and a hard link to what they remove has
    // found its content by then.
    for (const entry of entries) {
      const problem = root.apply(entry)
      if (problem !== null) problems.add(entry.path, problem)
    }
    for (const marker of markers) root.remove(marker)
  }
  return { files: tree.list(), problems: problems.list() }
}

function createTree(limits: OverlayLimits) {
  const root: Directory = { kind: 'directory', layer: 0, children: new Map(), clearedFor: 0 }
  let nodes = 0
  let lookups = 0

  function put(directory: Directory, name: string, node: Node): void {
    if (++nodes > limits.nodes) throw pastLimit('nodes', limits.nodes)
    directory.children.set(name, node)
  }

  /** The tree as one layer changes it. */
  function asOf(layer: number, removed: ReadonlySet<string>) {
    /**
     * Walks to a directory, through symbolic links.
     * @param make whether to make directories that are missing, or stand where a file is.
     * @returns null where there is no such directory, or none that Linux would reach.
     */
    function walk(path: string, make: boolean): Directory | null {
      const own = path.split('/')
      // The names still to go, the next one last: those of a link's target lie on top of the path's own.
      const names = own.toReversed()
      const trail = [root]
      let here = root
      let ownLeft = own.length
      let links = 0
      for (let name = names.pop(); name !== undefined; name = names.pop()) {
        if (++lookups > limits.lookups) throw pastLimit('lookups', limits.lookups)
        const isOwn = names.length < ownLeft
        if (isOwn) ownLeft = names.length
        if (name === '' || name === '.') continue
        if (name === '..') {
          if (trail.length > 1) trail.pop()
          here = trail.at(-1) ?? root
          continue
        }
        const node = here.children.get(name)
        if (node?.kind === 'leaf' && node.type === 'symlink') {
          // A link from below that this layer removes leads nowhere any more: what it writes there is its own directory.
          const isRemoved =
            isOwn && node.layer < layer && removed.size > 0 && removed.has(own.slice(0, own.length - ownLeft).join('/'))
          if (!isRemoved) {
            if (++links > MAX_LINKS) return null
            const target = node.linkTarget ?? ''
            if (target.startsWith('/')) trail.length = 1
            here = trail.at(-1) ?? root
            names.push(...target.split('/').reverse())
            continue
          }
        }
        if (node?.kind === 'directory') {
          here = node
        } else {
          if (!make || trail.length > MAX_DEPTH) return null
          const made: Directory = { kind: 'directory', layer, children: new Map(), clearedFor: layer }
          put(here, name, made)
          here = made
        }
        trail.push(here)
      }
      return here
    }

    function find(path: string): Node | undefined {
      const [directory, name] = split(path)
      return walk(directory, false)?.children.get(name)
    }

    /** Takes out of a directory what came with the layers below. */
    function clear(directory: Directory): void {
      if (directory.clearedFor === layer) return
      directory.clearedFor = layer
      for (const name of directory.children.keys()) clearChild(directory, name)
    }

    function clearChild(directory: Directory, name: string): void {
      const node = directory.children.get(name)
      if (node === undefined) return
      if (node.kind === 'directory') clear(node)
      const isEmpty = node.kind === 'leaf' || node.children.size === 0
      if (node.layer < layer && isEmpty) directory.children.delete(name)
      else if (node.kind === 'directory') node.layer = layer
    }

    /** @returns why the entry cannot be unpacked as it is, or null. */
    function apply(entry: LayerEntry): string | null {
      const { path, type, size } = entry
      if (type === 'whiteout' || type === 'opaque') return null
      const [parentPath, name] = split(path)
      const parent = walk(parentPath, true)
      if (parent === null) return 'the path leads through too many symbolic links or too deep'
      switch (type) {
        case 'directory': {
          const existing = parent.children.get(name)
          if (existing?.kind === 'directory') existing.layer = layer
          else put(parent, name, { kind: 'directory', layer, children: new Map(), clearedFor: layer })
          return null
        }
        case 'hardlink': {
          const target = find(entry.linkTarget ?? '')
          if (target?.kind === 'leaf') {
            put(parent, name, { ...target, layer })
            return null
          }
          put(parent, name, { kind: 'leaf', type: 'file', layer, size: 0, linkTarget: null, content: null })
          return 'the hard link leads to no file'
        }
        default: {
          const content = type === 'file' ? { layer, path } : null
          put(parent, name, { kind: 'leaf', type, layer, size, linkTarget: entry.linkTarget ?? null, content })
          return null
        }
      }
    }

    function remove({ path, type }: LayerEntry): void {
      if (type === 'opaque') {
        const directory = walk(path, false)
        if (directory !== null) clear(directory)
      } else {
        const [parentPath, name] = split(path)
        const parent = walk(parentPath, false)
        if (parent !== null) clearChild(parent, name)
      }
    }

    return { apply, remove }
  }

  function list(): Map<string, OverlayFile> {
    const files = new Map<string, OverlayFile>()
    let length = 0
    function visit(directory: Directory, prefix: string): void {
      for (const [name, node] of directory.children) {
        if (name.startsWith(METADATA)) continue
        const path = prefix + name
        length += path.length
        if (length > limits.finalPathLength) throw pastLimit('finalPathLength', limits.finalPathLength)
        if (node.kind === 'directory') {
          files.set(path, { path, type: 'directory', layer: node.layer, size: 0, linkTarget: null, content: null })
          visit(node, `${path}/`)
        } else {
          const { type, layer, size, linkTarget, content } = node
          files.set(path, { path, type, layer, size, linkTarget, content })
        }
      }
    }
    visit(root, '')
    return files
  }

  return { asOf, list }
}

function split(path: string): [parent: string, name: string] {
  const slash = path.lastIndexOf('/')
  return [path.slice(0, Math.max(slash, 0)), path.slice(slash + 1)]
}

function pastLimit(limit: keyof OverlayLimits, value: number): LayerError {
  return new LayerError('limit', `the image's file system takes more than ${value} ${limit}`, { limit })
}
