import { Buffer } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { constants, gzipSync, zstdCompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { type BuiltLayer, buildLayer, opaque, whiteout } from '../../test/fakes/image-builder.ts'
import { buildTar, type TarEntrySpec, tarEntry } from '../../test/fakes/tar-builder.ts'
import { soaked } from '../../test/soak.ts'
import { digestOf } from '../domain/digest.ts'
import { LayerError } from './layer-error.ts'
import type { LayerLimits } from './limits.ts'
import { type LayerContents, type LayerDescriptor, type ReadLayerOptions, readLayer } from './read-layer.ts'

async function* inChunks(bytes: Uint8Array, length = 1000): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

/** The layer of a blob that is not what a builder made. */
function layerOf(blob: Buffer, archive: Buffer): BuiltLayer {
  return { blob, digest: digestOf(blob), diffId: digestOf(archive), size: blob.length, compression: 'none' }
}

type Options = Partial<ReadLayerOptions> & { chunkLength?: number; descriptor?: Partial<LayerDescriptor> }

function read(layer: BuiltLayer, { chunkLength, descriptor, ...options }: Options = {}): Promise<LayerContents> {
  const { blob, digest, diffId, size } = layer
  const described = { digest, diffId, size, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...descriptor }
  return readLayer(inChunks(blob, chunkLength), described, { wants: () => false, ...options })
}

/** The code of the LayerError that a reading ends with, and the limit where it is one. */
async function failure(reading: Promise<unknown>): Promise<string> {
  try {
    await reading
  } catch (error) {
    if (error instanceof LayerError) return error.limit === null ? error.code : `${error.code} ${error.limit}`
    throw error
  }
  return 'none'
}

const ENTRIES: TarEntrySpec[] = [
  { path: 'app', type: 'directory' },
  { path: 'app/package.json', content: '{}', mode: 0o600 },
  { path: 'app/data', content: Buffer.alloc(300_000, 'data') },
  { path: 'app/link', type: 'symlink', linkTarget: 'data' }
]
const LISTED = [
  { path: 'app', type: 'directory', size: 0 },
  { path: 'app/package.json', type: 'file', size: 2 },
  { path: 'app/data', type: 'file', size: 300_000 },
  { path: 'app/link', type: 'symlink', size: 0, linkTarget: 'data' }
]

describe('readLayer', () => {
  it.each(['gzip', 'zstd', 'none'] as const)('lists every path and keeps what is wanted: %s', async (compression) => {
    const layer = buildLayer(ENTRIES, { compression })
    const progress: number[] = []
    const contents = await read(layer, {
      wants: ({ path, size, mode, firstBytes }) =>
        path === 'app/package.json' && size === 2 && mode === 0o600 && Buffer.from(firstBytes).toString() === '{}',
      onProgress: (bytes) => progress.push(bytes)
    })
    const content = new TextEncoder().encode('{}')
    expect(contents).toEqual({
      entries: LISTED,
      kept: [{ path: 'app/package.json', size: 2, mode: 0o600, content, digest: digestOf('{}') }],
      problems: [],
      compressedBytes: layer.blob.length,
      uncompressedBytes: buildTar(ENTRIES).length
    })
    expect(progress.at(-1)).toBe(layer.blob.length)
  })

  it('asks for every regular file once, and for nothing else', async () => {
    const asked: string[] = []
    const wants = vi.fn(({ path }: { path: string }) => asked.push(path) > 0)
    await read(buildLayer([...ENTRIES, { path: 'hard', type: 'hardlink', linkTarget: 'app/data' }, whiteout('x')]), {
      wants
    })
    expect(asked).toEqual(['app/package.json', 'app/data'])
  })

  it('lists whiteouts and opaque markers as what they are', async () => {
    const { entries, kept } = await read(
      buildLayer([
        whiteout('app/gone'),
        opaque('app/cache'),
        opaque(''),
        whiteout('top'),
        { path: 'app/.wh.directory', type: 'directory' },
        { path: '.wh..wh.plnk', type: 'directory' },
        { path: 'app/.wh..wh.aufs' }
      ]),
      { wants: () => true }
    )
    expect(entries).toEqual([
      { path: 'app/gone', type: 'whiteout', size: 0 },
      { path: 'app/cache', type: 'opaque', size: 0 },
      { path: '', type: 'opaque', size: 0 },
      { path: 'top', type: 'whiteout', size: 0 },
      // Only regular files are markers; other names of that form are metadata of AUFS, which the overlay leaves out.
      { path: 'app/.wh.directory', type: 'directory', size: 0 },
      { path: '.wh..wh.plnk', type: 'directory', size: 0 },
      { path: 'app/.wh..wh.aufs', type: 'file', size: 0 }
    ])
    expect(kept.map(({ path }) => path)).toEqual(['app/.wh..wh.aufs'])
  })

  it.each(['app/.wh.', 'app/.wh..', 'app/.wh...'])('refuses %s, which would remove what has no name', async (path) => {
    const { entries, problems } = await read(buildLayer([{ path }]))
    expect(entries).toEqual([])
    expect(problems).toEqual([{ path, reason: 'the whiteout removes nothing that can have a name' }])
  })

  it('leaves out the root', async () => {
    expect(
      (
        await read(
          buildLayer([
            { path: './', type: 'directory' },
            { path: '/', type: 'directory' }
          ])
        )
      ).entries
    ).toEqual([])
  })

  it('keeps the later one of a path that the archive has twice', async () => {
    const twice = buildLayer([
      { path: 'a', content: 'first' },
      { path: './a', content: 'second' },
      { path: 'b', content: 'file' },
      { path: 'b', type: 'symlink', linkTarget: 'a' }
    ])
    const { kept } = await read(twice, { wants: () => true })
    expect(kept.map(({ path, content }) => `${path} ${Buffer.from(content)}`)).toEqual(['a second'])
  })

  it('gives kept content a buffer of its own, which does not hold the chunk that it came in', async () => {
    const { kept } = await read(buildLayer(ENTRIES, { compression: 'none' }), {
      wants: ({ size }) => size === 2,
      chunkLength: 2 ** 20
    })
    expect(kept[0]?.content.buffer.byteLength).toBe(2)
  })

  it('reads an empty layer, and an empty blob', async () => {
    expect((await read(buildLayer([]))).entries).toEqual([])
    expect((await read(layerOf(Buffer.alloc(0), Buffer.alloc(0)))).entries).toEqual([])
  })

  describe('whatever the compression', () => {
    const archive = buildTar(ENTRIES)
    const third = Math.floor(archive.length / 3)
    const pieces = [
      archive.subarray(0, third),
      archive.subarray(third, third + 1),
      Buffer.alloc(0),
      archive.subarray(third + 1)
    ]
    const skippable = Buffer.concat([Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 7, 0, 0, 0]), Buffer.from('skipped')])
    const checked = (piece: Buffer) => zstdCompressSync(piece, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
    const blobs: [string, Buffer][] = [
      ['gzip of several members', Buffer.concat(pieces.map((piece) => gzipSync(piece)))],
      ['gzip with zeros at its end', Buffer.concat([gzipSync(archive), Buffer.alloc(100_000)])],
      ['zstd of several frames', Buffer.concat(pieces.map((piece) => zstdCompressSync(piece)))],
      ['zstd of several frames with checksums', Buffer.concat(pieces.map(checked))],
      ['zstd with a skippable frame first', Buffer.concat([skippable, zstdCompressSync(archive)])],
      [
        'zstd with skippable frames between',
        Buffer.concat(pieces.flatMap((piece) => [zstdCompressSync(piece), skippable]))
      ],
      [
        'zstd of many small frames',
        Buffer.concat(
          Array.from({ length: Math.ceil(archive.length / 3000) }, (_, at) =>
            zstdCompressSync(archive.subarray(at * 3000, (at + 1) * 3000))
          )
        )
      ],
      ['tar with more bytes behind its end', Buffer.concat([archive, Buffer.alloc(5000, 'behind')])]
    ]
    it.each(blobs)('reads %s', async (name, blob) => {
      const inside = name.startsWith('tar') ? blob : archive
      for (const chunkLength of [7, 1000, 2 ** 20]) {
        // A media type that is wrong changes nothing.
        const { entries } = await read(layerOf(blob, inside), { chunkLength, descriptor: { mediaType: 'text/plain' } })
        expect(entries).toEqual(LISTED)
      }
    })

    it('cuts zstd at its frames wherever the chunks are cut', async () => {
      const blob = Buffer.concat(pieces.flatMap((piece) => [skippable, zstdCompressSync(piece)]))
      await fc.assert(
        fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 }), async (lengths) => {
          async function* chunks(): AsyncGenerator<Uint8Array, void, void> {
            for (let at = 0, turn = 0; at < blob.length; turn++) {
              const length = lengths[turn % lengths.length] ?? 1
              yield blob.subarray(at, at + length)
              at += length
            }
          }
          const { digest, diffId, size } = layerOf(blob, archive)
          const { entries } = await readLayer(chunks(), { digest, diffId, size, mediaType: '' }, { wants: () => false })
          expect(entries).toEqual(LISTED)
        }),
        { numRuns: 20 }
      )
    })

    it.each<[string, string, Buffer]>([
      ['unsupported', 'bzip2', Buffer.from('BZh91AY&SY')],
      ['unsupported', 'xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00])],
      ['corrupt', 'text', Buffer.from('<html>Not found</html>'.repeat(100))],
      ['corrupt', 'gzip with text behind it', Buffer.concat([gzipSync(archive), Buffer.from('text')])],
      ['corrupt', 'zstd with text behind it', Buffer.concat([zstdCompressSync(archive), Buffer.from('text')])],
      ['corrupt', 'a gzip that is damaged', gzipSync(archive).fill(0xff, 100, 120)],
      ['corrupt', 'a zstd that is damaged', zstdCompressSync(archive).fill(0xff, 100, 120)],
      [
        'corrupt',
        'a gzip whose checksum is wrong',
        Buffer.concat([gzipSync(archive).subarray(0, -8), Buffer.alloc(4), gzipSync(archive).subarray(-4)])
      ],
      ['truncated', 'a gzip that ends early', gzipSync(archive).subarray(0, -1)],
      ['truncated', 'a gzip that ends in its header', gzipSync(archive).subarray(0, 5)],
      ['truncated', 'a zstd that ends early', zstdCompressSync(archive).subarray(0, -1)],
      [
        'truncated',
        'a zstd that ends in a later frame',
        Buffer.concat([zstdCompressSync(archive), zstdCompressSync(archive).subarray(0, 3)])
      ],
      [
        'truncated',
        'a zstd that ends in a skippable frame',
        Buffer.concat([zstdCompressSync(archive), skippable.subarray(0, -1)])
      ],
      ['truncated', 'an archive that ends early', gzipSync(archive.subarray(0, 2000))],
      [
        'unsupported',
        'a zstd with a window of 2 GiB',
        Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00])
      ]
    ])('says %s of %s', async (code, _, blob) => {
      expect(await failure(read(layerOf(blob, archive)))).toBe(code)
    })

    it('says unsupported of a layer that is encrypted', async () => {
      const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted'
      expect(await failure(read(buildLayer(ENTRIES), { descriptor: { mediaType } }))).toBe('unsupported')
    })
  })

  describe('returns nothing that is not verified', () => {
    const layer = buildLayer(ENTRIES)
    const other = digestOf('other')

    it.each<[string, Partial<LayerDescriptor>]>([
      ['size-mismatch', { size: layer.size + 1 }],
      ['size-mismatch', { size: layer.size - 1 }],
      ['size-mismatch', { size: 0 }],
      ['digest-mismatch', { digest: other }],
      ['diff-id-mismatch', { diffId: other }]
    ])('%s where the descriptor has %j', async (code, descriptor) => {
      expect(await failure(read(layer, { descriptor }))).toBe(code)
    })

    it('verifies sha512 as well', async () => {
      const descriptor = { digest: digestOf(layer.blob, 'sha512'), diffId: digestOf(buildTar(ENTRIES), 'sha512') }
      expect((await read(layer, { descriptor })).entries).toEqual(LISTED)
      expect(await failure(read(layer, { descriptor: { digest: digestOf('other', 'sha512') } }))).toBe(
        'digest-mismatch'
      )
    })

    it('tells damage on the way here from a layer that was made so', async () => {
      // Large and random, so that the damage is found while most of the blob is still to come.
      const large = buildLayer([{ path: 'random', content: randomBytes(2_000_000) }])
      const damaged = Buffer.from(large.blob).fill(0xff, 50, 5000)
      const { digest, diffId, size } = large
      const descriptor = { digest, diffId, size, mediaType: '' }
      const options = { wants: () => false }
      expect(await failure(readLayer(inChunks(damaged), descriptor, options))).toBe('digest-mismatch')
      expect(await failure(readLayer(inChunks(damaged.subarray(0, -1)), descriptor, options))).toBe('size-mismatch')
      expect(await failure(readLayer(inChunks(large.blob.subarray(0, -1)), descriptor, options))).toBe('size-mismatch')
      expect(await failure(read(layerOf(damaged, damaged)))).toBe('corrupt')
    })

    it('counts the bytes that come after the end of what is compressed', async () => {
      const blob = Buffer.concat([gzipSync(buildTar(ENTRIES)), Buffer.alloc(3_000_000)])
      const { digest, diffId } = layerOf(blob, buildTar(ENTRIES))
      const endless = blob.subarray(0, -1)
      const reading = (bytes: Buffer) =>
        readLayer(inChunks(bytes), { digest, diffId, size: blob.length, mediaType: '' }, { wants: () => false })
      expect(await failure(reading(endless))).toBe('size-mismatch')
      expect(await failure(reading(blob))).toBe('none')
    })

    it('whatever bytes of the blob are changed [soak]', async () => {
      await fc.assert(
        fc.asyncProperty(fc.nat(layer.blob.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
          const blob = Buffer.from(layer.blob)
          blob[at] = (blob[at] ?? 0) ^ change
          const { digest, diffId, size } = layer
          expect(
            await failure(readLayer(inChunks(blob), { digest, diffId, size, mediaType: '' }, { wants: () => true }))
          ).toBe('digest-mismatch')
          // The same bytes as what the descriptor names: now only the archive tells, or nothing that matters was changed.
          const outcome = await failure(
            readLayer(inChunks(blob), { digest: digestOf(blob), diffId, size, mediaType: '' }, { wants: () => true })
          )
          expect(['none', 'corrupt', 'truncated', 'diff-id-mismatch']).toContain(outcome)
        }),
        soaked('layers with changed bytes', 150)
      )
    })
  })

  describe('stops at its limits', () => {
    const limited = (layer: BuiltLayer, limits: Partial<LayerLimits>, wants: ReadLayerOptions['wants'] = () => true) =>
      read(layer, { limits, wants })

    it.each(['gzip', 'zstd'] as const)('where %s inflates without end', async (compression) => {
      const bomb = buildLayer(Buffer.alloc(64 * 2 ** 20), { compression })
      expect(bomb.size).toBeLessThan(100_000)
      expect(await failure(limited(bomb, { uncompressedBytes: 2 ** 20 }))).toBe('limit uncompressedBytes')
      expect(await failure(limited(bomb, { uncompressedBytes: 64 * 2 ** 20 }))).toBe('none')
    })

    it('where a registry sends zeros without end', async () => {
      let sent = 0
      async function* zeros(): AsyncGenerator<Uint8Array, void, void> {
        for (;;) {
          sent += 1000
          yield Buffer.alloc(1000)
        }
      }
      const layer = { digest: digestOf(''), diffId: digestOf(''), size: 1_000_000, mediaType: '' }
      expect(await failure(readLayer(zeros(), layer, { wants: () => false }))).toBe('size-mismatch')
      expect(sent).toBe(1_001_000)
    })

    it('where there are too many entries', async () => {
      const million = Buffer.concat([
        ...Array.from({ length: 20_001 }, () => tarEntry({ path: 'a' })).flat(),
        Buffer.alloc(1024)
      ])
      expect(await failure(limited(buildLayer(million), { entries: 20_000 }))).toBe('limit entries')
    })

    it('where the paths are too long together', async () => {
      const layer = buildLayer([{ path: 'aaaa' }, { path: 'b', type: 'symlink', linkTarget: 'cccc' }])
      expect(await failure(limited(layer, { pathBytes: 9 }))).toBe('none')
      expect(await failure(limited(layer, { pathBytes: 8 }))).toBe('limit pathBytes')
    })

    const files = buildLayer([
      { path: 'a', content: 'aaa' },
      { path: 'b', content: 'bb' },
      { path: 'c', content: 'c' }
    ])
    const keptPaths = ({ kept }: LayerContents) => kept.map(({ path }) => path)
    const problemPaths = ({ problems }: LayerContents) => problems.map(({ path }) => path)

    it('for one file, and goes on with the layer', async () => {
      const contents = await limited(files, { fileBytes: 2 })
      expect(keptPaths(contents)).toEqual(['b', 'c'])
      expect(contents.problems).toEqual([{ path: 'a', reason: 'the file has 3 bytes, more than the 2 that are read' }])
      expect(contents.entries).toHaveLength(3)
    })

    it('for the number of files, and goes on with the layer', async () => {
      const contents = await limited(files, { keptFiles: 2 })
      expect(keptPaths(contents)).toEqual(['a', 'b'])
      expect(problemPaths(contents)).toEqual(['c'])
    })

    it('for the bytes of all files, and goes on with the layer', async () => {
      const contents = await limited(files, { keptBytes: 4 })
      expect(keptPaths(contents)).toEqual(['a', 'c'])
      expect(problemPaths(contents)).toEqual(['b'])
    })

    it('which count only what is kept in the end', async () => {
      const twice = buildLayer([
        { path: 'a', content: 'aaa' },
        { path: 'a', content: 'aaa' },
        { path: 'b', content: 'b' }
      ])
      expect((await limited(twice, { keptBytes: 4, keptFiles: 2 })).problems).toEqual([])
    })

    it('for what is not wanted there is none', async () => {
      expect((await limited(files, { fileBytes: 0, keptFiles: 0, keptBytes: 0 }, () => false)).problems).toEqual([])
    })

    it('for the problems it spells out, and counts the others', async () => {
      const layer = buildLayer(Array.from({ length: 8 }, (_, at) => ({ path: `../${at}` })))
      const { problems } = await limited(layer, { problems: 3 })
      expect(problems.map(({ path }) => path)).toEqual(['../0', '../1', '../2', null])
      expect(problems[3]?.reason).toBe('and 5 more problems')
    })

    it('shortens a path in a problem that nobody would read to its end', async () => {
      const { problems } = await limited(buildLayer([{ path: 'x'.repeat(5000) }]), {})
      expect(problems[0]?.path).toHaveLength(201)
    })
  })

  describe('ends', () => {
    const layer = buildLayer(ENTRIES)

    /** A blob that sends its first half and then nothing more. */
    async function* hanging(): AsyncGenerator<Uint8Array, void, void> {
      yield layer.blob.subarray(0, layer.blob.length / 2)
      await new Promise(() => {})
    }

    it('with timeout where the blob hangs', async () => {
      const options = { wants: () => false, limits: { seconds: 0.01 } }
      expect(await failure(readLayer(hanging(), { ...layer, mediaType: '' }, options))).toBe('timeout')
    })

    it('with aborted where the caller aborts, before or while it reads', async () => {
      const before = AbortSignal.abort(new Error('stopping'))
      expect(await failure(read(layer, { signal: before }))).toBe('aborted')
      const abort = new AbortController()
      const reading = readLayer(
        hanging(),
        { ...layer, mediaType: '' },
        {
          wants: () => false,
          signal: abort.signal,
          onProgress: () => abort.abort(new Error('stopping'))
        }
      )
      await expect(reading).rejects.toMatchObject({ code: 'aborted', cause: { message: 'stopping' } })
    })

    it('with what the blob throws', async () => {
      async function* cut(): AsyncGenerator<Uint8Array, void, void> {
        yield layer.blob.subarray(0, 100)
        throw new Error('the connection was cut')
      }
      await expect(readLayer(cut(), { ...layer, mediaType: '' }, { wants: () => false })).rejects.toThrow(
        'the connection was cut'
      )
    })

    it('with what `wants` throws', async () => {
      const wants = () => {
        throw new Error('a fault in an extractor')
      }
      await expect(read(layer, { wants })).rejects.toThrow('a fault in an extractor')
    })

    it('and leaves the blob, so that its connection is closed', async () => {
      const large = buildLayer([{ path: 'first' }, { path: 'random', content: randomBytes(2_000_000) }])
      let closed = false
      async function* watched(): AsyncGenerator<Uint8Array, void, void> {
        try {
          yield* inChunks(large.blob)
        } finally {
          closed = true
        }
      }
      const options = { wants: () => false, limits: { entries: 1 } }
      expect(await failure(readLayer(watched(), { ...large, mediaType: '' }, options))).toBe('limit entries')
      await vi.waitFor(() => expect(closed).toBe(true))
    })
  })
})
