import { Buffer } from 'node:buffer'
import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  buildTar,
  gnuLongHeader,
  padded,
  paxHeader,
  type TarEntrySpec,
  tarEntry,
  tarHeader
} from '../../test/fakes/tar-builder.ts'
import { LayerError } from './layer-error.ts'
import { DEFAULT_LAYER_LIMITS, type LayerLimits } from './limits.ts'
import { createTarReader, FIRST_BYTES, type TarEntry } from './tar-reader.ts'

interface Told {
  readonly entries: TarEntry[]
  readonly contents: Map<string, string>
  readonly firstBytes: Map<string, string>
  readonly problems: { path: string | null; reason: string }[]
}

/** All that the reader tells of an archive, every file being wanted, given in chunks of these lengths in turn. */
function read(
  archive: Buffer,
  chunkLengths: readonly number[] = [archive.length],
  limits: Partial<LayerLimits> = {}
): Told {
  const told: Told = { entries: [], contents: new Map(), firstBytes: new Map(), problems: [] }
  const reader = createTarReader(
    {
      entry(entry, firstBytes) {
        told.entries.push(entry)
        told.firstBytes.set(entry.path, Buffer.from(firstBytes).toString('latin1'))
        return true
      },
      file(entry, content) {
        told.contents.set(entry.path, Buffer.from(content).toString('latin1'))
      },
      problem(path, reason) {
        told.problems.push({ path, reason })
      }
    },
    { ...DEFAULT_LAYER_LIMITS, ...limits }
  )
  for (let at = 0, turn = 0; at < archive.length; turn++) {
    const length = Math.max(1, chunkLengths[turn % chunkLengths.length] ?? 1)
    reader.push(archive.subarray(at, at + length))
    at += length
  }
  reader.end()
  return told
}

const END = Buffer.alloc(1024)
const archiveOf = (...blocks: (Buffer | Buffer[])[]) => Buffer.concat([...blocks.flat(), END])
const paths = (archive: Buffer) => read(archive).entries.map(({ path }) => path)
const sizes = (archive: Buffer) => read(archive).entries.map(({ path, size }) => `${path} ${size}`)

function failure(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof LayerError) return error.limit === null ? error.code : `${error.code} ${error.limit}`
    throw error
  }
  return 'none'
}

describe('the tar reader', () => {
  it('tells type, size, mode and link of every entry', () => {
    const archive = buildTar([
      { path: 'dir', type: 'directory' },
      { path: 'dir/file', content: 'content', mode: 0o4755 },
      { path: 'empty' },
      { path: 'link', type: 'symlink', linkTarget: '../else/../where' },
      { path: 'hard', type: 'hardlink', linkTarget: './dir/file' },
      { path: 'pipe', type: 'fifo' },
      { path: 'device', type: 'character-device' }
    ])
    const { entries, contents, problems } = read(archive)
    expect(entries).toEqual([
      { path: 'dir', type: 'directory', size: 0, mode: 0o755, linkTarget: null },
      { path: 'dir/file', type: 'file', size: 7, mode: 0o4755, linkTarget: null },
      { path: 'empty', type: 'file', size: 0, mode: 0o644, linkTarget: null },
      { path: 'link', type: 'symlink', size: 0, mode: 0o644, linkTarget: '../else/../where' },
      { path: 'hard', type: 'hardlink', size: 0, mode: 0o644, linkTarget: 'dir/file' },
      { path: 'pipe', type: 'other', size: 0, mode: 0o644, linkTarget: null },
      { path: 'device', type: 'other', size: 0, mode: 0o644, linkTarget: null }
    ])
    expect([...contents]).toEqual([
      ['dir/file', 'content'],
      ['empty', '']
    ])
    expect(problems).toEqual([])
  })

  it('tells the same however the archive is cut into chunks', () => {
    const big = Buffer.alloc(3000, 'abcdefg')
    const archive = archiveOf(
      ...[
        { path: 'a', content: big },
        { path: `${'d/'.repeat(80)}b`, content: 'b' },
        { path: 'c', content: Buffer.alloc(512, 'c') }
      ].map(tarEntry),
      gnuLongHeader('x'.repeat(600), 'L'),
      tarEntry({ path: 'y', content: big })
    )
    const whole = read(archive)
    expect(whole.contents.get('a')).toBe(big.toString())
    expect(whole.firstBytes.get('a')).toBe(big.subarray(0, FIRST_BYTES).toString())
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 20 }), (lengths) => {
        expect(read(archive, lengths)).toEqual(whole)
      }),
      { numRuns: 200, examples: [[[1]], [[511]], [[513]]] }
    )
  })

  describe('on what GNU tar wrote', () => {
    let directory = ''
    beforeAll(() => {
      directory = mkdtempSync(join(tmpdir(), 'tar-reader-'))
      const tree = join(directory, 'tree')
      const deep = `${'deep-directory/'.repeat(12)}`
      mkdirSync(join(tree, deep), { recursive: true })
      writeFileSync(join(tree, 'plain'), 'plain')
      writeFileSync(join(tree, 'executable'), '#!/bin/sh\n', { mode: 0o755 })
      writeFileSync(join(tree, 'y'.repeat(140)), 'a name for the prefix or a long header')
      writeFileSync(join(tree, deep, 'z'.repeat(90)), 'deep')
      writeFileSync(join(tree, 'grüße \u{1f600}'), 'utf-8')
      linkSync(join(tree, 'plain'), join(tree, 'zz-hard'))
      symlinkSync('plain', join(tree, 'soft'))
      symlinkSync('../'.repeat(60), join(tree, 'soft-long'))
      execFileSync('sh', ['-c', 'mkfifo "$0"', join(tree, 'pipe')])
      // A sparse file with more pieces than one header has room for.
      const sparse = join(tree, 'sparse')
      writeFileSync(sparse, '')
      truncateSync(sparse, 8 * 2 ** 20)
      for (let piece = 0; piece < 30; piece++) {
        execFileSync(
          'dd',
          ['if=/dev/urandom', `of=${sparse}`, 'bs=4096', 'count=1', `seek=${piece * 60}`, 'conv=notrunc'],
          {
            stdio: 'ignore'
          }
        )
      }
      writeFileSync(join(tree, 'zzz-after-sparse'), 'after')
    })
    afterAll(() => {
      rmSync(directory, { recursive: true, force: true })
    })

    /** What GNU tar lists, in the reader's terms. */
    function listed(archive: Buffer): string[] {
      const types: Record<string, string> = { '-': 'file', d: 'directory', l: 'symlink', h: 'hardlink', p: 'other' }
      const text = execFileSync('tar', ['--list', '-vv', '--numeric-owner', '--quoting-style=literal', '-f', '-'], {
        input: archive,
        env: { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' },
        stdio: ['pipe', 'pipe', 'ignore']
      }).toString()
      return text
        .trimEnd()
        .split('\n')
        .map((line) => {
          const [, kind, size, rest] = /^(.)\S+ \S+ +(\d+) \S+ \S+ (.*)$/.exec(line) ?? []
          const [name, target] = (rest ?? '').split(/ -> | link to /)
          const clean = (path: string) => path.replace(/^\.\//, '').replace(/\/$/, '').replace(/^\.$/, '')
          const type = types[kind ?? ''] ?? '?'
          const link = target === undefined ? '' : ` > ${type === 'hardlink' ? clean(target) : target}`
          return `${type} ${size} ${clean(name ?? '')}${link}`
        })
    }

    const formats = ['v7', 'ustar', 'gnu', 'oldgnu', 'pax']
    const sparse = [
      ['gnu', '--sparse'],
      ['oldgnu', '--sparse'],
      ['pax', '--sparse', '--sparse-version=0.0'],
      ['pax', '--sparse', '--sparse-version=0.1'],
      ['pax', '--sparse', '--sparse-version=1.0']
    ]
    it.each([...formats.map((format) => [format]), ...sparse])(
      'lists the same in format %s %s %s',
      (format, ...options) => {
        const create = [
          '--create',
          '--sort=name',
          `--format=${format}`,
          ...options,
          '-f',
          '-',
          '-C',
          join(directory, 'tree'),
          '.'
        ]
        // Old formats cannot hold every name; tar says so, leaves those out, and exits with 2.
        let archive: Buffer
        try {
          archive = execFileSync('tar', create, { maxBuffer: 2 ** 27, stdio: ['ignore', 'pipe', 'ignore'] })
        } catch (error) {
          archive = (error as { stdout: Buffer }).stdout
        }
        const expected = listed(archive)
        expect(expected.length).toBeGreaterThan(format === 'v7' ? 14 : 18)
        const { entries, contents, problems } = read(archive, [100_000])
        expect(
          entries.map(
            ({ type, size, path, linkTarget }) =>
              `${type} ${size} ${path}${linkTarget === null ? '' : ` > ${linkTarget}`}`
          )
        ).toEqual(expected)
        expect(contents.get('plain')).toBe('plain')
        expect(contents.get('zzz-after-sparse')).toBe('after')
        expect(problems).toEqual(
          options.length === 0 ? [] : [{ path: 'sparse', reason: 'the content of a sparse file is not read' }]
        )
      }
    )
  })

  it('reads the names of star, whose prefix is shorter, and of V7, which has none', () => {
    const star = tarHeader({
      name: 'n',
      prefix: 'p'.repeat(131),
      bytes: { 476: Buffer.from('times'), 508: Buffer.from('tar\0') }
    })
    const v7 = tarHeader({ name: 'old', magic: '', prefix: 'not a prefix' })
    const gnu = tarHeader({ name: 'gnu', magic: 'ustar  \0', prefix: '12345670123' })
    expect(paths(archiveOf(star, v7, gnu))).toEqual([`${'p'.repeat(131)}/n`, 'old', 'gnu'])
  })

  it('reads sizes in base 256', () => {
    const size = Buffer.concat([Buffer.of(0x80), Buffer.alloc(10), Buffer.of(3)])
    expect(
      read(archiveOf(tarHeader({ name: 'a', size }), padded(Buffer.from('abc')), tarEntry({ path: 'b' }))).contents
    ).toEqual(
      new Map([
        ['a', 'abc'],
        ['b', '']
      ])
    )
  })

  it('accepts checksums of signed bytes and of unsigned ones', () => {
    const name = Buffer.from('\u00fc')
    const unsigned = tarHeader({ name })
    const sum = Number.parseInt(unsigned.toString('latin1', 148, 154), 8)
    expect(paths(archiveOf(unsigned, tarHeader({ name, checksum: sum - 2 * 256 })))).toEqual(['\u00fc', '\u00fc'])
    expect(failure(() => read(archiveOf(tarHeader({ name, checksum: sum - 1 }))))).toBe('corrupt')
  })

  it('takes a name from a GNU long name before PAX, and from PAX before the header, as Go does', () => {
    const entry = tarEntry({ path: 'header', content: 'x' })
    expect(paths(archiveOf(paxHeader({ path: 'pax' }), entry))).toEqual(['pax'])
    expect(paths(archiveOf(gnuLongHeader('gnu', 'L'), paxHeader({ path: 'pax' }), entry, entry))).toEqual([
      'gnu',
      'header'
    ])
    const link = tarEntry({ path: 'l', type: 'symlink', linkTarget: 'header' })
    const target = (...before: Buffer[][]) => read(archiveOf(...before, link)).entries[0]?.linkTarget
    expect(target(paxHeader({ linkpath: 'pax' }))).toBe('pax')
    expect(target(gnuLongHeader('gnu', 'K'), paxHeader({ linkpath: 'pax' }))).toBe('gnu')
    expect(target(paxHeader({ linkpath: '' }))).toBe('header')
  })

  it('takes a size from PAX', () => {
    const header = tarHeader({ name: 'a', size: 0 })
    expect(
      sizes(archiveOf(paxHeader({ size: '5' }), header, padded(Buffer.from('12345')), tarEntry({ path: 'b' })))
    ).toEqual(['a 5', 'b 0'])
  })

  it('reads no content of links, directories and devices, whatever size they state, as Go does', () => {
    const stated = [...'123456'].map((flag) => tarHeader({ name: flag, flag, size: 512, linkName: 'x' }))
    expect(paths(archiveOf(...stated, tarEntry({ path: 'z' })))).toEqual(['1', '2', '3', '4', '5', '6', 'z'])
  })

  it('takes a file whose name ends in a slash for a directory', () => {
    expect(read(buildTar([{ path: 'a/' }])).entries[0]).toMatchObject({ path: 'a', type: 'directory' })
  })

  it('leaves out volume labels, and names entries of types that it does not know', () => {
    const { entries, problems } = read(
      archiveOf(
        tarHeader({ name: 'label', flag: 'V' }),
        tarHeader({ name: 'm', flag: 'M', size: 3 }),
        padded(Buffer.from('abc')),
        tarEntry({ path: 'a' })
      )
    )
    expect(entries.map(({ path }) => path)).toEqual(['a'])
    expect(problems).toEqual([{ path: 'm', reason: 'entries of type "M" are not read' }])
  })

  it('checks global PAX headers and does not apply them, as the container runtimes do not', () => {
    const comment = paxHeader({ comment: 'git' }, 'g')
    expect(read(archiveOf(comment, tarEntry({ path: 'a' }))).problems).toEqual([])
    const { entries, problems } = read(archiveOf(paxHeader({ path: 'everything' }, 'g'), tarEntry({ path: 'a' })))
    expect(entries.map(({ path }) => path)).toEqual(['a'])
    expect(problems).toHaveLength(1)
  })

  describe('names', () => {
    it.each([
      ['./a', 'a'],
      ['/a', 'a'],
      ['a//b', 'a/b'],
      ['a/./b/', 'a/b'],
      ['a/../b', 'b'],
      ['./', ''],
      ['..a/b..', '..a/b..'],
      ['.wh.a', '.wh.a']
    ])('%s is %s', (written, path) => {
      expect(paths(buildTar([{ path: written, type: 'directory' }]))).toEqual([path])
    })

    it.each(['../a', 'a/../../b', '/..', 'a/b/../../../c'])('%s leads out of the image and is refused', (path) => {
      const { entries, problems } = read(buildTar([{ path }, { path: 'next' }]))
      expect(entries.map((entry) => entry.path)).toEqual(['next'])
      expect(problems).toEqual([{ path, reason: 'the path leads out of the image' }])
    })

    it('of a hard link to something outside are refused, of a symbolic link are kept as written', () => {
      const { entries, problems } = read(
        buildTar([
          { path: 'hard', type: 'hardlink', linkTarget: '../../etc/passwd' },
          { path: 'soft', type: 'symlink', linkTarget: '../../etc/passwd' }
        ])
      )
      expect(entries.map(({ path }) => path)).toEqual(['soft'])
      expect(problems).toEqual([{ path: 'hard', reason: 'the link target leads out of the image' }])
    })

    it('that are no UTF-8 stay apart', () => {
      const archive = archiveOf(
        tarHeader({ name: Buffer.from([0x61, 0xe9]) }),
        tarHeader({ name: Buffer.from([0x61, 0xe8, 0xc3, 0xbc]) })
      )
      expect(paths(archive)).toEqual(['a\\xe9', 'a\\xe8\u00fc'])
    })

    it('end at their first NUL in a header, and are refused with one in a PAX record', () => {
      const { entries, problems } = read(
        archiveOf(
          tarHeader({ name: 'a\0b' }),
          paxHeader({ path: 'c\0d' }),
          tarEntry({ path: 'x' }),
          tarEntry({ path: 'e' })
        )
      )
      expect(entries.map(({ path }) => path)).toEqual(['a', 'e'])
      expect(problems).toEqual([{ path: 'c\0d', reason: 'the name has a NUL in it' }])
    })

    it('longer than the limit are refused', () => {
      const { entries, problems } = read(
        buildTar([
          { path: 'x'.repeat(51) },
          { path: 'l', type: 'symlink', linkTarget: '\u00fc'.repeat(26) },
          { path: 'y'.repeat(50) }
        ]),
        undefined,
        { nameBytes: 50 }
      )
      expect(entries.map(({ path }) => path)).toEqual(['y'.repeat(50)])
      expect(problems.map(({ path }) => path)).toEqual(['x'.repeat(51), 'l'])
    })
  })

  describe('on a broken archive', () => {
    const archive = buildTar([
      { path: 'a', content: 'x'.repeat(1000) },
      { path: `${'long/'.repeat(30)}b`, content: 'b' }
    ])

    it('says that it is truncated wherever it ends inside an entry', () => {
      const ends = (length: number) => failure(() => read(archive.subarray(0, length), [archive.length]))
      // Header, content of 1000 bytes, what fills its last block; a PAX header of a block and its body; header, content.
      const atEntries = [0, 512 + 1000, 512 + 1024, 1536 + 1024 + 512 + 1]
      for (let length = 0; length < archive.length; length++) {
        const fillsBlock = (length > 1512 && length < 1536) || (length > 3073 && length <= 3584)
        const withoutZeros = length === 3584 || length === 4096
        const expected = atEntries.includes(length) || fillsBlock || withoutZeros ? 'none' : 'truncated'
        expect(`${length} ${ends(length)}`).toBe(`${length} ${expected}`)
      }
    })

    it.each<[string, Buffer[]]>([
      ['a wrong checksum', [tarHeader({ name: 'a', checksum: 1 })]],
      ['a checksum that is no number', [tarHeader({ name: 'a', checksum: Number.NaN })]],
      ['a size that is no number', [tarHeader({ name: 'a', size: Buffer.from('12x45678901\0') })]],
      ['a negative size', [tarHeader({ name: 'a', size: Buffer.alloc(12, 0xff) })]],
      [
        'a size beyond every number',
        [tarHeader({ name: 'a', size: Buffer.concat([Buffer.of(0x80), Buffer.alloc(11, 0xff)]) })]
      ],
      ['a negative size in PAX', [...paxHeader({ size: '-1' }), tarHeader({ name: 'a' })]],
      ['an impossible size in PAX', [...paxHeader({ size: '9'.repeat(30) }), tarHeader({ name: 'a' })]],
      ['something after one block of zeros', [Buffer.alloc(512), tarHeader({ name: 'a' })]],
      ['text', [padded(Buffer.from('Not found\n'.repeat(60)))]]
    ])('with %s says that it is corrupt', (_, blocks) => {
      expect(failure(() => read(archiveOf(...blocks)))).toBe('corrupt')
    })

    it.each([
      '5 a=b\n',
      '6 a=b',
      '6 a=b\n7 c=',
      ' a=b\n',
      'x a=b\n',
      '0 a=b\n',
      '3 a=b\n',
      '4 ab\n',
      '99999999999999 a=b\n',
      '6 a=bc\n'
    ])('with the PAX record %j says that it is corrupt', (record) => {
      const body = Buffer.from(record)
      expect(
        failure(() =>
          read(archiveOf(tarHeader({ name: 'p', flag: 'x', size: body.length }), padded(body), tarEntry({ path: 'a' })))
        )
      ).toBe('corrupt')
    })

    it('stops at the limit for extended headers before it has read one', () => {
      const huge = tarHeader({ name: 'p', flag: 'x', size: 2 ** 32 })
      expect(failure(() => read(archiveOf(huge)))).toBe('limit headerBytes')
      expect(failure(() => read(archiveOf(tarHeader({ name: 'l', flag: 'L', size: 2 ** 32 }))))).toBe(
        'limit headerBytes'
      )
    })

    it('stops at the limit for entries, extended headers counted', () => {
      const entries: TarEntrySpec[] = Array.from({ length: 11 }, (_, at) => ({ path: `${at}` }))
      expect(failure(() => read(buildTar(entries), undefined, { entries: 11 }))).toBe('none')
      expect(failure(() => read(buildTar(entries), undefined, { entries: 10 }))).toBe('limit entries')
      const headers = Array.from({ length: 11 }, () => paxHeader({ comment: 'x' }))
      expect(failure(() => read(archiveOf(...headers), undefined, { entries: 10 }))).toBe('limit entries')
    })

    it('ends with a reason whatever bytes are changed', () => {
      const valid = archiveOf(
        tarEntry({ path: 'a', content: 'x'.repeat(700) }),
        gnuLongHeader('n'.repeat(200), 'L'),
        tarEntry({ path: 'b', content: 'b' }),
        tarEntry({ path: 'c'.repeat(200), content: 'c', pax: { comment: 'x' } }),
        tarHeader({ name: 's', flag: 'S', size: 512, bytes: { 482: Buffer.of(1), 483: Buffer.from('00000002000\0') } }),
        Buffer.alloc(1024)
      )
      const change = fc.tuple(fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 }), fc.boolean())
      fc.assert(
        fc.property(
          fc.array(change, { minLength: 1, maxLength: 8 }),
          fc.integer({ min: 1, max: 2000 }),
          (changes, length) => {
            const archive = Buffer.from(valid)
            for (const [at, byte, repairs] of changes) {
              archive[at] = byte
              // With the checksum made good the change reaches what is behind it.
              const block = archive.subarray(at - (at % 512), at - (at % 512) + 512)
              if (!repairs) continue
              block.fill(' ', 148, 156)
              block.write(
                `${block
                  .reduce((sum, value) => sum + value, 0)
                  .toString(8)
                  .padStart(6, '0')}\0 `,
                148,
                'latin1'
              )
            }
            expect(['none', 'corrupt', 'truncated', 'limit headerBytes']).toContain(
              failure(() => read(archive, [length]))
            )
          }
        ),
        { numRuns: 3000 }
      )
    })
  })
})
