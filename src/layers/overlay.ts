import { compareText } from '../domain/version.ts'
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
  readonly type: 'file' | 'symlink' | 'other'
  readonly layer: number
  readonly size: number
  readonly linkTarget: string | null
  readonly content: OverlayFile['content']
}

interface Directory {
  readonly type: 'directory'
  layer: number
  readonly children: Map<string, Node>
}

type Node = Leaf | Directory

/** An entry that is no marker. */
type ContentEntry = LayerEntry & { readonly type: Exclude<LayerEntry['type'], 'whiteout' | 'opaque'> }

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
    const contents = entries.filter(isContent)
    const markers = entries.filter((entry) => !isContent(entry))
    const links = contents.filter(({ type }) => type === 'hardlink')
    // Before the markers: who linked to a file and then removed its name has the content all the same.
    const linkedBelow = new Map(links.map(({ linkTarget = '' }) => [linkTarget, tree.find(linkTarget)]))
    if (markers.length > 0) removeMarked(tree, markers, contents)
    for (const entry of contents) {
      const problem = tree.put(layer, entry, linkedBelow)
      if (problem !== null) problems.add(entry.path, problem)
    }
  }
  return { files: tree.list(), problems: problems.list() }
}

/** Takes out of the layers below what the markers of a layer name; nothing of the layer itself is there yet. */
function removeMarked(
  tree: ReturnType<typeof createTree>,
  markers: readonly LayerEntry[],
  contents: readonly LayerEntry[]
): void {
  // On the way to a marker: a directory that replaces a link of the layers below has nothing of theirs in it.
  const own = new Map(contents.map((entry) => [entry.path, entry]))
  // What is above first, and whiteouts: below a link that is removed there is nothing to remove, and what it led to stays.
  const sorted = markers.toSorted((a, b) => compareText(a.path, b.path) || compareText(b.type, a.type))
  for (const { path, type } of sorted) {
    if (type === 'opaque') tree.clear(path, own)
    else tree.remove(path, own)
  }
}

function createTree(limits: OverlayLimits) {
  const root = emptyDirectory(0)
  let nodes = 0
  let lookups = 0

  /**
   * Walks to a directory, through symbolic links.
   * @param options.make a layer to which directories are added that are missing, or stand where a file is.
   * @param options.own entries by path as written, which are looked at before what is in the tree.
   * @returns null where there is no such directory, or none that Linux would reach.
   */
  function walk(
    path: string,
    options: { readonly make?: number; readonly own?: ReadonlyMap<string, LayerEntry> } = {}
  ): Directory | null {
    const written = path.split('/')
    // The names still to go, the next one last: those of a link's target lie on top of the path's own.
    const names = written.toReversed()
    const trail = [root]
    let here = root
    let writtenLeft = written.length
    let links = 0
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      if (++lookups > limits.lookups) throw pastLimit('lookups', limits.lookups)
      let entry: LayerEntry | undefined
      if (names.length < writtenLeft) {
        writtenLeft = names.length
        entry = options.own?.get(written.slice(0, written.length - writtenLeft).join('/'))
      }
      if (name === '' || name === '.') continue
      if (name === '..') {
        if (trail.length > 1) trail.pop()
        here = trail.at(-1) ?? root
        continue
      }
      const node = here.children.get(name)
      const target = linkTargetOf(entry) ?? linkTargetOf(node)
      if (target !== null) {
        if (entry?.type === 'directory' || ++links > MAX_LINKS) return null
        if (target.startsWith('/')) trail.length = 1
        here = trail.at(-1) ?? root
        names.push(...target.split('/').reverse())
        continue
      }
      if (node?.type === 'directory') {
        here = node
      } else {
        if (options.make === undefined || trail.length > MAX_DEPTH) return null
        const made = emptyDirectory(options.make)
        set(here, name, made)
        here = made
      }
      trail.push(here)
    }
    return here
  }

  function set(directory: Directory, name: string, node: Node): void {
    if (++nodes > limits.nodes) throw pastLimit('nodes', limits.nodes)
    directory.children.set(name, node)
  }

  function find(path: string): Node | undefined {
    const [parent, name] = split(path)
    return walk(parent)?.children.get(name)
  }

  /** @returns why the entry cannot be unpacked as it is, or null. */
  function put(layer: number, entry: ContentEntry, linkedBelow: ReadonlyMap<string, Node | undefined>): string | null {
    const { path, type, size, linkTarget = '' } = entry
    const [parentPath, name] = split(path)
    const parent = walk(parentPath, { make: layer })
    if (parent === null) return 'the path leads through too many symbolic links or too deep'
    if (type === 'directory') {
      const existing = parent.children.get(name)
      if (existing?.type === 'directory') existing.layer = layer
      else set(parent, name, emptyDirectory(layer))
    } else if (type === 'hardlink') {
      const target = find(linkTarget) ?? linkedBelow.get(linkTarget)
      if (target === undefined || target.type === 'directory') {
        set(parent, name, { type: 'file', layer, size: 0, linkTarget: null, content: null })
        return 'the hard link leads to no file'
      }
      set(parent, name, { ...target, layer })
    } else {
      const content = type === 'file' ? { layer, path } : null
      set(parent, name, { type, layer, size, linkTarget: type === 'symlink' ? linkTarget : null, content })
    }
    return null
  }

  function remove(path: string, own: ReadonlyMap<string, LayerEntry>): void {
    const [parent, name] = split(path)
    walk(parent, { own })?.children.delete(name)
  }

  function clear(path: string, own: ReadonlyMap<string, LayerEntry>): void {
    walk(path, { own })?.children.clear()
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
        if (node.type === 'directory') {
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

  return { find, put, remove, clear, list }
}

function isContent(entry: LayerEntry): entry is ContentEntry {
  return entry.type !== 'whiteout' && entry.type !== 'opaque'
}

function emptyDirectory(layer: number): Directory {
  return { type: 'directory', layer, children: new Map() }
}

function linkTargetOf(node: Node | LayerEntry | undefined): string | null {
  return node?.type === 'symlink' ? (node.linkTarget ?? '') : null
}

function split(path: string): [parent: string, name: string] {
  const slash = path.lastIndexOf('/')
  return [path.slice(0, Math.max(slash, 0)), path.slice(slash + 1)]
}

function pastLimit(limit: keyof OverlayLimits, value: number): LayerError {
  return new LayerError('limit', `the image's file system takes more than ${value} ${limit}`, { limit })
}
