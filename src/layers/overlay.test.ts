import {
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { soaked } from '../../test/soak.ts'
import { LayerError } from './layer-error.ts'
import type { LayerEntry } from './listing.ts'
import { type OverlayFile, overlay } from './overlay.ts'

const file = (path: string, size = 1): LayerEntry => ({ path, type: 'file', size })
const directory = (path: string): LayerEntry => ({ path, type: 'directory', size: 0 })
const symlink = (path: string, linkTarget: string): LayerEntry => ({ path, type: 'symlink', size: 0, linkTarget })
const hardlink = (path: string, linkTarget: string): LayerEntry => ({ path, type: 'hardlink', size: 0, linkTarget })
const whiteout = (path: string): LayerEntry => ({ path, type: 'whiteout', size: 0 })
const opaque = (path: string): LayerEntry => ({ path, type: 'opaque', size: 0 })

/** One line for each path of the final file system: what it is, and where it comes from. */
function shown(...layers: LayerEntry[][]): string[] {
  return [...overlay(layers).files.values()].map(show).sort()
}

function show({ path, type, layer, linkTarget, content }: OverlayFile): string {
  if (type === 'directory') return `${path}/ ${layer}`
  if (type === 'symlink') return `${path} ${layer} -> ${linkTarget}`
  return `${path} ${layer} = ${content === null ? type : `${content.layer}:${content.path}`}`
}

describe('the overlay', () => {
  it('has the files of all layers, the higher ones winning', () => {
    expect(shown([directory('a'), file('a/x'), file('a/y')], [file('a/x'), file('b')])).toEqual([
      'a/ 0',
      'a/x 1 = 1:a/x',
      'a/y 0 = 0:a/y',
      'b 1 = 1:b'
    ])
  })

  it('makes the directories that no layer names', () => {
    expect(shown([file('a/b/c')])).toEqual(['a/ 0', 'a/b/ 0', 'a/b/c 0 = 0:a/b/c'])
  })

  it('keeps size and kind', () => {
    const { files } = overlay([[file('a', 7), { path: 'pipe', type: 'other', size: 0 }]])
    expect(files.get('a')).toEqual({
      path: 'a',
      type: 'file',
      layer: 0,
      size: 7,
      linkTarget: null,
      content: { layer: 0, path: 'a' }
    })
    expect(files.get('pipe')).toEqual({
      path: 'pipe',
      type: 'other',
      layer: 0,
      size: 0,
      linkTarget: null,
      content: null
    })
  })

  it('takes the later of two entries of one path in one layer', () => {
    expect(shown([file('a'), directory('a'), file('b'), symlink('b', 'a')])).toEqual(['a/ 0', 'b 0 -> a'])
  })

  describe('whiteouts', () => {
    it('remove a file, or a directory with all below it', () => {
      expect(shown([file('a'), file('d/x'), file('d/e/y'), file('z')], [whiteout('a'), whiteout('d')])).toEqual([
        'z 0 = 0:z'
      ])
    })

    it('spare what their own layer brings, wherever they stand', () => {
      const below = [file('d/x'), file('d/y')]
      const expected = ['d/ 1', 'd/y 1 = 1:d/y']
      expect(shown(below, [whiteout('d'), file('d/y')])).toEqual(expected)
      expect(shown(below, [file('d/y'), whiteout('d')])).toEqual(expected)
      expect(shown(below, [directory('d'), file('d/y'), whiteout('d')])).toEqual(expected)
    })

    it('of what is not there do nothing', () => {
      expect(shown([file('a')], [whiteout('b'), whiteout('a/b'), whiteout('c/d'), opaque('e'), opaque('a')])).toEqual([
        'a 0 = 0:a'
      ])
    })

    it('let a higher layer bring back what they removed', () => {
      expect(shown([file('a')], [whiteout('a')], [file('a')])).toEqual(['a 2 = 2:a'])
    })

    it('remove a link and not what it leads to', () => {
      expect(shown([file('d/x'), symlink('l', 'd')], [whiteout('l')])).toEqual(['d/ 0', 'd/x 0 = 0:d/x'])
    })

    it('of a link come before an opaque marker behind it, which then has nothing to hide', () => {
      const below = [file('d/x'), symlink('l', 'd')]
      expect(shown(below, [opaque('l'), whiteout('l')])).toEqual(['d/ 0', 'd/x 0 = 0:d/x'])
    })

    it('of a link to a directory make way for a directory of that name', () => {
      expect(shown([file('usr/lib/a'), symlink('lib', 'usr/lib')], [whiteout('lib'), file('lib/b')])).toEqual([
        'lib/ 1',
        'lib/b 1 = 1:lib/b',
        'usr/ 0',
        'usr/lib/ 0',
        'usr/lib/a 0 = 0:usr/lib/a'
      ])
    })
  })

  describe('opaque markers', () => {
    it('hide all that the layers below have in a directory, and nothing beside it', () => {
      const below = [[file('d/x'), file('e')], [file('d/sub/y')]]
      expect(shown(...below, [opaque('d'), file('d/z')])).toEqual(['d/ 0', 'd/z 2 = 2:d/z', 'e 0 = 0:e'])
      expect(shown(...below, [file('d/z'), opaque('d')])).toEqual(['d/ 0', 'd/z 2 = 2:d/z', 'e 0 = 0:e'])
    })

    it('at the root hide everything', () => {
      expect(shown([file('a'), file('d/x')], [opaque(''), file('b')])).toEqual(['b 1 = 1:b'])
    })

    it('of a directory that replaces a link leave alone what the link led to', () => {
      expect(
        shown([file('usr/lib/a'), symlink('lib', 'usr/lib')], [directory('lib'), opaque('lib'), file('lib/b')])
      ).toEqual(['lib/ 1', 'lib/b 1 = 1:lib/b', 'usr/ 0', 'usr/lib/ 0', 'usr/lib/a 0 = 0:usr/lib/a'])
    })
  })

  describe('replacing', () => {
    it('a directory by a file hides what was in it', () => {
      expect(shown([file('d/x')], [file('d')])).toEqual(['d 1 = 1:d'])
      expect(shown([file('d/x')], [file('d')], [file('d/y')])).toEqual(['d/ 2', 'd/y 2 = 2:d/y'])
    })

    it('a directory by a directory merges', () => {
      expect(shown([file('d/x')], [directory('d'), file('d/y')])).toEqual(['d/ 1', 'd/x 0 = 0:d/x', 'd/y 1 = 1:d/y'])
    })

    it('a link to a directory by a directory does not follow the link', () => {
      expect(shown([file('d/x'), symlink('l', 'd')], [directory('l')])).toEqual(['d/ 0', 'd/x 0 = 0:d/x', 'l/ 1'])
    })
  })

  describe('symbolic links', () => {
    it('on the way to a path are followed, as by what unpacks the layers', () => {
      expect(shown([directory('usr/lib'), symlink('lib', 'usr/lib')], [file('lib/a')])).toEqual([
        'lib 0 -> usr/lib',
        'usr/ 0',
        'usr/lib/ 0',
        'usr/lib/a 1 = 1:lib/a'
      ])
      expect(shown([file('usr/lib/a'), symlink('lib', 'usr/lib')], [whiteout('lib/a')])).toEqual([
        'lib 0 -> usr/lib',
        'usr/ 0',
        'usr/lib/ 0'
      ])
    })

    it.each([
      ['/b', 'b/f'],
      ['../../../b', 'b/f'],
      ['./c/../d', 'a/d/f'],
      ['/', 'f'],
      ['..', 'f'],
      ['', 'a/f']
    ])('to %j stay inside the image', (target, path) => {
      expect([...overlay([[symlink('a/l', target), file('a/l/f')]]).files.keys()]).toContain(path)
    })

    it('in a circle lead nowhere, and are a problem', () => {
      const { files, problems } = overlay([
        [symlink('a', 'b'), symlink('b', 'a'), file('a/x'), whiteout('a/y'), opaque('a'), hardlink('h', 'a/x')]
      ])
      expect([...files.keys()]).toEqual(['a', 'b', 'h'])
      expect(problems.map(({ path }) => path)).toEqual(['a/x', 'h'])
    })

    it('are followed forty times in one path, as by Linux', () => {
      const chain = Array.from({ length: 41 }, (_, at) => symlink(`${at}`, `${at + 1}`))
      const problems = (entry: LayerEntry) => overlay([[...chain, directory('41'), entry]]).problems
      expect(problems(file('1/x'))).toEqual([])
      expect(problems(file('0/x'))).toHaveLength(1)
    })
  })

  describe('hard links', () => {
    it('have the content of their target, in their layer or below', () => {
      expect(shown([file('a', 3)], [hardlink('b', 'a'), file('c', 4), hardlink('d', 'c')])).toEqual([
        'a 0 = 0:a',
        'b 1 = 0:a',
        'c 1 = 1:c',
        'd 1 = 1:c'
      ])
      expect(overlay([[file('a', 3), hardlink('b', 'a')]]).files.get('b')?.size).toBe(3)
    })

    it('keep it when their target is replaced or removed', () => {
      expect(shown([file('a'), hardlink('b', 'a')], [file('a')])).toEqual(['a 1 = 1:a', 'b 0 = 0:a'])
      expect(shown([file('a'), hardlink('b', 'a')], [whiteout('a')])).toEqual(['b 0 = 0:a'])
      expect(shown([file('a')], [whiteout('a'), hardlink('b', 'a')])).toEqual(['b 1 = 0:a'])
    })

    it('to a hard link or to a symbolic link share what that is', () => {
      expect(shown([file('a'), hardlink('b', 'a'), hardlink('c', 'b')])).toContain('c 0 = 0:a')
      expect(shown([symlink('s', 'x'), hardlink('t', 's')])).toContain('t 0 -> x')
    })

    it('through a link to a directory find its file', () => {
      expect(shown([file('d/a'), symlink('l', 'd'), hardlink('h', 'l/a')])).toContain('h 0 = 0:d/a')
    })

    it.each(['nothing', 'd', 'later'])('to %s are a file without content, and a problem', (target) => {
      const { files, problems } = overlay([[directory('d'), hardlink('h', target), file('later')]])
      expect(files.get('h')).toMatchObject({ type: 'file', content: null })
      expect(problems).toEqual([{ path: 'h', reason: 'the hard link leads to no file' }])
    })
  })

  it('leaves out the metadata of AUFS, to whose files hard links may lead', () => {
    expect(shown([file('.wh..wh.plnk/1'), hardlink('a', '.wh..wh.plnk/1'), file('d/.wh..wh.aufs')])).toEqual([
      'a 0 = 0:.wh..wh.plnk/1',
      'd/ 0'
    ])
  })

  it('takes names for names, however odd', () => {
    const names = ['__proto__', 'constructor', 'toString', '\\xe9', 'a\nb']
    expect([...overlay([names.map((name) => file(name))]).files.keys()]).toEqual(names)
  })

  describe('stops at its limits', () => {
    const limit = (run: () => unknown) => {
      try {
        run()
        return null
      } catch (error) {
        if (error instanceof LayerError) return error.limit
        throw error
      }
    }

    it('for the files and directories made', () => {
      const layers = [[file('a/b/c'), file('d')]]
      expect(limit(() => overlay(layers, { nodes: 4 }))).toBeNull()
      expect(limit(() => overlay(layers, { nodes: 3 }))).toBe('nodes')
    })

    it('for the names looked up, so that links to links to deep directories take no time without end', () => {
      const deep = 'd/'.repeat(1000)
      const links = Array.from({ length: 40 }, (_, at) =>
        symlink(`l${at}`, at === 0 ? deep : `l${at - 1}/${'../d/'.repeat(500)}`)
      )
      const layers = [
        [directory(deep.slice(0, -1)), ...links, ...Array.from({ length: 1000 }, (_, at) => file(`l39/${at}`))]
      ]
      expect(limit(() => overlay(layers, { lookups: 1_000_000 }))).toBe('lookups')
    })

    it('for the length of all paths, so that short ones below a link to a deep directory do not fill the memory', () => {
      const layers = [
        [
          directory('d'.repeat(1000)),
          symlink('l', 'd'.repeat(1000)),
          ...Array.from({ length: 100 }, (_, at) => file(`l/${at}`))
        ]
      ]
      expect(limit(() => overlay(layers, { finalPathLength: 110_000 }))).toBeNull()
      expect(limit(() => overlay(layers, { finalPathLength: 100_000 }))).toBe('finalPathLength')
    })

    it('for depth, which links could lead to without end', () => {
      const deep = Array.from({ length: 2000 }, () => 'd').join('/')
      const entries = Array.from({ length: 20 }, (_, at) => [
        directory(at === 0 ? deep : `l${at - 1}/${deep}`),
        symlink(`l${at}`, at === 0 ? deep : `l${at - 1}/${deep}`)
      ])
      const { files, problems } = overlay([entries.flat()])
      expect(Math.max(...[...files.keys()].map((path) => path.split('/').length))).toBeLessThanOrEqual(2050)
      expect(problems.length).toBeGreaterThan(0)
    })

    it('for the markers of one directory, which are worked off once', () => {
      const many = Array.from({ length: 3000 }, (_, at) => file(`d/${at}`))
      const markers = Array.from({ length: 3000 }, () => [opaque('d'), whiteout('d')]).flat()
      expect(overlay([[file('d/below')], [...many, ...markers]]).files.size).toBe(3001)
    })
  })

  // ---------------------------------------------------------------------------------------------------------- properties

  const name = fc.constantFrom('a', 'b', 'c')
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'))
  const linkTarget = (extra: readonly string[]) => fc.oneof(path, fc.constantFrom('a', 'b', ...extra))
  const entry = (extra: readonly string[]): fc.Arbitrary<LayerEntry> =>
    fc.oneof(
      { weight: 4, arbitrary: path.map((at) => file(at)) },
      { weight: 2, arbitrary: path.map(directory) },
      { weight: 2, arbitrary: fc.tuple(path, linkTarget(extra)).map(([at, to]) => symlink(at, to)) },
      { weight: 2, arbitrary: fc.tuple(path, path).map(([at, to]) => hardlink(at, to)) },
      { weight: 2, arbitrary: path.map(whiteout) },
      { weight: 1, arbitrary: path.map(opaque) }
    )
  const layersOf = (extra: readonly string[]) =>
    fc.array(fc.array(entry(extra), { maxLength: 8 }), { minLength: 1, maxLength: 4 })

  it('equals a naive model that applies one entry after the other to a map of paths [soak]', () => {
    fc.assert(
      fc.property(layersOf(['/a', '../b', '/', '..', '.', '../../c/a']), (layers) => {
        expect(shown(...layers)).toEqual(naive(layers))
      }),
      soaked('overlay against a naive model', 2000)
    )
  })

  it('does not depend on where the markers of a layer stand', () => {
    fc.assert(
      fc.property(layersOf(['/a', '../b']), fc.infiniteStream(fc.nat()), (layers, places) => {
        const isMarker = ({ type }: LayerEntry) => type === 'whiteout' || type === 'opaque'
        const moved = layers.map((entries) => {
          const rest = entries.filter((each) => !isMarker(each))
          for (const marker of entries.filter(isMarker))
            rest.splice((places.next().value ?? 0) % (rest.length + 1), 0, marker)
          return rest
        })
        expect(shown(...moved)).toEqual(shown(...layers))
      }),
      { numRuns: 1000 }
    )
  })

  describe('on a real file system', () => {
    let root = ''
    beforeAll(() => {
      root = mkdtempSync(join(tmpdir(), 'overlay-'))
    })
    afterAll(() => {
      rmSync(root, { recursive: true, force: true })
    })

    it('equals what unpacking one layer after the other leaves there', () => {
      let applied = 0
      fc.assert(
        fc.property(layersOf([]), (layers) => {
          const image = mkdtempSync(join(root, 'image-'))
          // As those write layers who compare file systems: by path, the markers of a directory first, and none below a link or
          // file of the layer itself. What cannot be unpacked is left out: no image that anybody runs has it.
          const unpacked = layers.map((entries, layer) => {
            const own = new Set<string>()
            return entries
              .filter((each) => !isBelowOwn(each, entries))
              .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
              .filter((each) => {
                try {
                  unpack(image, layer, each, own)
                  applied++
                  return true
                } catch {
                  rmSync(join(root, 'link'), { force: true })
                  return false
                }
              })
          })
          const files = [...overlay(unpacked).files.values()].map(({ path: at, type, linkTarget: to, content }) =>
            type === 'file' ? `${at} = ${content?.layer}:${content?.path}` : `${at} ${to ?? type}`
          )
          expect(files.sort()).toEqual(walk(image, '').sort())
          rmSync(image, { recursive: true })
        }),
        { numRuns: 200 }
      )
      expect(applied).toBeGreaterThan(1000)
    })

    function isBelowOwn({ path: at, type }: LayerEntry, entries: readonly LayerEntry[]): boolean {
      if (type !== 'whiteout' && type !== 'opaque') return false
      const leaves = entries.filter((each) => ['file', 'symlink', 'hardlink'].includes(each.type))
      return leaves.some((leaf) => `${at}/`.startsWith(`${leaf.path}/`) && (type === 'opaque' || at !== leaf.path))
    }

    function keyOf({ path: at, type }: LayerEntry): string {
      if (type === 'opaque') return `${at}/\u0001`
      if (type === 'whiteout') return join(dirname(at), `\u0002${basename(at)}`)
      return at
    }

    /**
     * As containerd and Docker do, on directories that are their whole world here: no target begins with `/` or `..`.
     * @param own what the layer has brought so far, which its markers spare.
     */
    function unpack(image: string, layer: number, entry: LayerEntry, own: Set<string>): void {
      const { path: at, type, linkTarget: target = '' } = entry
      const place = join(image, at)
      const found = lstatSync(place, { throwIfNoEntry: false })
      if (type === 'opaque') {
        for (const child of readdirSync(place)) removeBelow(join(realpathSync(place), child), own)
        return
      }
      if (type === 'whiteout') {
        if (found !== undefined) removeBelow(join(realpathSync(dirname(place)), basename(place)), own)
        return
      }
      // Made before anything is removed: what cannot be linked to must leave no trace.
      const link = join(root, 'link')
      if (type === 'hardlink') linkSync(join(image, target), link)
      mkdirSync(dirname(place), { recursive: true })
      own.add(join(realpathSync(dirname(place)), basename(place)))
      if (type === 'directory' && found?.isDirectory()) return
      rmSync(place, { recursive: true, force: true })
      if (type === 'directory') mkdirSync(place)
      else if (type === 'file') writeFileSync(place, `${layer}:${at}`)
      else if (type === 'symlink') symlinkSync(target, place)
      else renameSync(link, place)
    }

    function removeBelow(place: string, own: ReadonlySet<string>): void {
      if (lstatSync(place).isDirectory()) {
        for (const child of readdirSync(place)) removeBelow(join(place, child), own)
        if (!own.has(place) && readdirSync(place).length === 0) rmdirSync(place)
      } else if (!own.has(place)) {
        rmSync(place)
      }
    }

    function walk(image: string, at: string): string[] {
      return readdirSync(join(image, at), { withFileTypes: true }).flatMap((child) => {
        const below = join(at, child.name)
        if (child.isDirectory()) return [`${below} directory`, ...walk(image, below)]
        if (child.isSymbolicLink()) return [`${below} ${readlinkSync(join(image, below))}`]
        return [`${below} = ${readFileSync(join(image, below), 'utf8')}`]
      })
    }
  })
})

/** The same rules with nothing but a map from paths, in the words of `show`. */
function naive(layers: readonly (readonly LayerEntry[])[]): string[] {
  const files = new Map<string, OverlayFile>()
  const below = (path: string) => [...files.keys()].filter((other) => path === '' || other.startsWith(`${path}/`))
  const plain = { size: 0, linkTarget: null, content: null }

  function removeBelow(path: string): void {
    for (const other of below(path)) files.delete(other)
  }

  function put(node: Omit<OverlayFile, 'path'>, path: string): void {
    removeBelow(path)
    files.set(path, { ...node, path })
  }

  /** Where a directory really is; null where there is none. `at` is where the walk is, `links` how many it followed. */
  function real(
    names: string[],
    makes: number | null,
    own: readonly LayerEntry[],
    at = '',
    written = '',
    links = 0
  ): string | null {
    const [name, ...rest] = names
    if (name === undefined || links > 40) return links > 40 ? null : at
    const isWritten = !name.startsWith(LINKED)
    const bare = isWritten ? name : name.slice(LINKED.length)
    const as = isWritten ? join(written, bare) : written
    if (bare === '' || bare === '.') return real(rest, makes, own, at, as, links)
    if (bare === '..') return real(rest, makes, own, at.includes('/') ? dirname(at) : '', as, links)
    const next = join(at, bare)
    const entry = isWritten ? own.findLast(({ path }) => path === as) : undefined
    const link = [entry, files.get(next)].find((each) => each?.type === 'symlink')
    if (link !== undefined) {
      if (entry?.type === 'directory') return null
      const target = link.linkTarget ?? ''
      const through = target.split('/').map((part) => LINKED + part)
      return real([...through, ...rest], makes, own, target.startsWith('/') ? '' : at, as, links + 1)
    }
    if (files.get(next)?.type !== 'directory') {
      if (makes === null) return null
      put({ ...plain, type: 'directory', layer: makes }, next)
    }
    return real(rest, makes, own, next, as, links)
  }

  function place(path: string, makes: number | null, own: readonly LayerEntry[] = []): string | null {
    const parent = real(path.split('/').slice(0, -1), makes, own)
    return parent === null ? null : join(parent, basename(path))
  }

  function nodeAt(path: string): OverlayFile | undefined {
    const at = place(path, null)
    return at === null ? undefined : files.get(at)
  }

  for (const [layer, entries] of layers.entries()) {
    const isMarker = ({ type }: LayerEntry) => type === 'whiteout' || type === 'opaque'
    const own = entries.filter((entry) => !isMarker(entry))
    const sortKey = ({ path, type }: LayerEntry) => `${path}\0${type === 'whiteout' ? 0 : 1}`
    const sorted = entries.filter(isMarker).toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1))
    const before = own.map(({ linkTarget = '' }) => nodeAt(linkTarget))
    for (const { path, type } of sorted) {
      const at = type === 'opaque' ? real(path.split('/'), null, own) : place(path, null, own)
      if (at === null) continue
      removeBelow(at)
      if (type === 'whiteout') files.delete(at)
    }
    for (const [index, { path, type, size, linkTarget = null }] of own.entries()) {
      const at = place(path, layer)
      if (at === null) continue
      const found = files.get(at)
      if (type === 'hardlink') {
        const node = nodeAt(linkTarget ?? '') ?? before[index]
        put(
          node === undefined || node.type === 'directory' ? { ...plain, type: 'file', layer } : { ...node, layer },
          at
        )
      } else if (type === 'directory' && found?.type === 'directory') {
        files.set(at, { ...found, layer })
      } else if (type !== 'whiteout' && type !== 'opaque') {
        put({ type, layer, size, linkTarget, content: type === 'file' ? { layer, path } : null }, at)
      }
    }
  }
  return [...files.values()].map(show).sort()
}

// Marks a name that comes from a link's target, and not from a path as written.
const LINKED = '\0'
