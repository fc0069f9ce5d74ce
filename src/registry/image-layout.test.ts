import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../src/domain/digest.ts'
import {
  describe as descriptorOf,
  OCI_INDEX,
  OCI_MANIFEST,
  type TinyImage,
  tinyImage
} from '../../test/fakes/tiny-image.ts'
import { openImageLayout } from './image-layout.ts'
import { readBlob } from './image-source.ts'
import { resolveImage } from './resolve-image.ts'

let root: string

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'image-layout-'))
})

afterEach(() => rm(root, { recursive: true }))

async function write(path: string, content: Buffer | string | object): Promise<void> {
  const file = join(root, 'content', path)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, typeof content === 'string' || content instanceof Buffer ? content : JSON.stringify(content))
}

/** An OCI layout as a directory. */
async function writeLayout(images: readonly (readonly [annotations: object, image: TinyImage])[]): Promise<string> {
  const manifests: object[] = []
  for (const [annotations, image] of images) {
    const manifest = Buffer.from(JSON.stringify(image.manifest))
    for (const content of [manifest, ...image.blobs.values()]) {
      await write(`blobs/${digestOf(content).replace(':', '/')}`, content)
    }
    manifests.push({ ...descriptorOf(manifest, OCI_MANIFEST), annotations })
  }
  await write('oci-layout', { imageLayoutVersion: '1.0.0' })
  await write('index.json', { schemaVersion: 2, mediaType: OCI_INDEX, manifests })
  return join(root, 'content')
}

/** The directory as an archive, by GNU tar. */
function pack(...options: string[]): string {
  const archive = join(root, 'archive.tar')
  execFileSync('tar', ['-C', join(root, 'content'), '-cf', archive, ...options, '.'])
  return archive
}

const named = (name: string) => ({ 'org.opencontainers.image.ref.name': name })
const one = tinyImage({ layers: ['lower', 'upper'] })
const two = tinyImage({ layers: ['lower', 'other'] })
const digestOne = digestOf(JSON.stringify(one.manifest))
const digestTwo = digestOf(JSON.stringify(two.manifest))

describe.each([
  ['directory', (directory: string) => directory],
  ['archive', () => pack()],
  ['archive with pax headers', () => pack('--format=pax')],
  ['archive with version 7 headers', () => pack('--format=v7')]
])('an OCI layout as a %s', (_form, form) => {
  it('lists its images, and finds them by name and by digest', async () => {
    const layout = await openImageLayout(
      form(
        await writeLayout([
          [named('1.0.0'), one],
          [{}, two]
        ])
      )
    )
    expect(layout.references()).toEqual([
      { reference: '1.0.0', digest: digestOne },
      { reference: digestTwo, digest: digestTwo }
    ])
    for (const { reference, digest } of layout.references()) {
      expect((await resolveImage(layout, reference)).digest).toBe(digest)
    }
    for (const [at, text] of ['lower', 'upper'].entries()) {
      expect(Buffer.from(await readBlob(layout, one.layers[at]!, 100)).toString()).toBe(text)
    }
  })

  it('says what it holds where an image is not there', async () => {
    const layout = await openImageLayout(form(await writeLayout([[named('1.0.0'), one]])))
    await expect(layout.manifest('2.0.0')).rejects.toMatchObject({
      code: 'not-found',
      message: `2.0.0 was not found in ${layout.description}; it holds 1.0.0`
    })
    await expect(layout.manifest(digestTwo)).rejects.toMatchObject({ code: 'not-found' })
    await expect(readBlob(layout, two.layers[1]!, 100)).rejects.toMatchObject({ code: 'not-found' })
  })

  it('notices content that is not what its digest says', async () => {
    const directory = await writeLayout([[named('1.0.0'), one]])
    await write(`blobs/${digestOne.replace(':', '/')}`, { ...one.manifest, schemaVersion: 3 })
    await write(`blobs/${one.layers[0]!.digest.replace(':', '/')}`, 'LOWER')
    await write(`blobs/${one.layers[1]!.digest.replace(':', '/')}`, 'upper and more')
    const layout = await openImageLayout(form(directory))
    await expect(layout.manifest('1.0.0')).rejects.toMatchObject({ code: 'digest-mismatch' })
    for (const layer of one.layers) {
      await expect(readBlob(layout, layer, 100)).rejects.toMatchObject({ code: 'digest-mismatch' })
    }
    await expect(Array.fromAsync(layout.blob(one.layers[1]!))).rejects.toMatchObject({ code: 'digest-mismatch' })
  })
})

describe('a document in an OCI layout', () => {
  it('is not read where it is larger than any', async () => {
    const directory = await writeLayout([[named('1.0.0'), one]])
    await write('index.json', Buffer.alloc(8 * 1024 * 1024 + 1, ' '))
    await expect(openImageLayout(directory)).rejects.toMatchObject({ code: 'too-large' })
  })
})

describe('a name in an OCI layout', () => {
  it('may be the whole name of the image', async () => {
    const annotations = { 'io.containerd.image.name': 'docker.io/library/service:1.0.0', ...named('1.0.0') }
    const layout = await openImageLayout(await writeLayout([[annotations, one]]))
    expect(layout.references()).toEqual([{ reference: 'docker.io/library/service:1.0.0', digest: digestOne }])
    expect((await layout.manifest('1.0.0')).digest).toBe(digestOne)
    expect((await layout.manifest('docker.io/library/service:1.0.0')).digest).toBe(digestOne)
  })

  it('that stands for several images is refused', async () => {
    const layout = await openImageLayout(
      await writeLayout([
        [named('latest'), one],
        [named('latest'), two]
      ])
    )
    await expect(layout.manifest('latest')).rejects.toMatchObject({ code: 'invalid' })
    expect((await layout.manifest(digestTwo)).digest).toBe(digestTwo)
  })
})

describe('an archive of docker save', () => {
  const config = [...one.blobs].find(([digest]) => digest === one.config.digest)![1]
  const saved = {
    Config: 'config.json',
    RepoTags: ['team/service:1.0.0', 'other:2.0.0'],
    Layers: ['1/layer.tar', '2/layer.tar']
  }

  async function writeSaved(layers: readonly Buffer[], manifest: object = [saved]): Promise<void> {
    await write('manifest.json', manifest)
    await write('config.json', config)
    for (const [at, layer] of layers.entries()) await write(`${at + 1}/layer.tar`, layer)
  }

  it('is read with a manifest that is made for it', async () => {
    await writeSaved([Buffer.from('lower'), Buffer.from('upper')])
    const layout = await openImageLayout(pack())
    expect(layout.references().map(({ reference }) => reference)).toEqual(['team/service:1.0.0', 'other:2.0.0'])
    const image = await resolveImage(layout, 'team/service:1.0.0')
    expect(image.config.digest).toBe(one.config.digest)
    expect(image.layers).toEqual([
      {
        mediaType: 'application/vnd.docker.image.rootfs.diff.tar',
        digest: digestOf('lower'),
        diffId: digestOf('lower'),
        size: 5
      },
      {
        mediaType: 'application/vnd.docker.image.rootfs.diff.tar',
        digest: digestOf('upper'),
        diffId: digestOf('upper'),
        size: 5
      }
    ])
    expect(Buffer.from(await readBlob(layout, image.layers[1]!, 100)).toString()).toBe('upper')
    expect((await layout.manifest('2.0.0')).digest).toBe(image.digest)
    expect((await resolveImage(layout, image.digest)).digest).toBe(image.digest)
  })

  it('may have compressed layers, whose digests are computed', async () => {
    const compressed = [gzipSync('lower'), zstdCompressSync('upper')]
    await writeSaved(compressed)
    const layout = await openImageLayout(pack())
    const image = await resolveImage(layout, '1.0.0')
    expect(image.layers.map(({ mediaType, digest, diffId }) => [mediaType.split('.').at(-1), digest, diffId])).toEqual([
      ['gzip', digestOf(compressed[0]!), digestOf('lower')],
      ['zstd', digestOf(compressed[1]!), digestOf('upper')]
    ])
    for (const [at, layer] of image.layers.entries()) {
      expect(await readBlob(layout, layer, 1_000)).toEqual(compressed[at])
    }
  })

  it('may have a layer that is a link to another', async () => {
    await writeSaved([Buffer.from('lower')])
    await mkdir(join(root, 'content/2'))
    await symlink('../1/layer.tar', join(root, 'content/2/layer.tar'))
    const layout = await openImageLayout(pack())
    const [layer] = (await resolveImage(layout, '1.0.0')).layers
    expect(Buffer.from(await readBlob(layout, layer!, 100)).toString()).toBe('lower')
  })

  it('that is an OCI layout besides is read as one', async () => {
    await writeSaved([Buffer.from('lower'), Buffer.from('upper')])
    await writeLayout([[named('1.0.0'), one]])
    expect((await resolveImage(await openImageLayout(pack()), '1.0.0')).digest).toBe(digestOne)
  })

  it('without a tag is found by the digest that is made for it', async () => {
    await writeSaved([Buffer.from('lower'), Buffer.from('upper')], [{ ...saved, RepoTags: null }])
    const layout = await openImageLayout(pack())
    const [{ reference, digest }] = layout.references() as [{ reference: string; digest: string }]
    expect(reference).toBe(digest)
    expect((await layout.manifest(reference)).digest).toBe(digest)
  })

  it.each([
    ['lacks a layer', [{ ...saved, Layers: ['1/layer.tar', '3/layer.tar'] }]],
    ['lacks its config', [{ ...saved, Config: '../../../etc/passwd' }]],
    ['has another number of layers than its config', [{ ...saved, Layers: ['1/layer.tar'] }]],
    ['has no list of images', {}]
  ])('is invalid where it %s', async (_what, manifest) => {
    await writeSaved([Buffer.from('lower'), Buffer.from('upper')], manifest)
    await expect(openImageLayout(pack())).rejects.toMatchObject({ code: 'invalid' })
  })
})

describe('what is no image', () => {
  it('that does not exist is not found', async () => {
    const path = join(root, 'nothing')
    await expect(openImageLayout(path)).rejects.toMatchObject({ code: 'not-found', message: `${path} does not exist` })
  })

  it.each([
    ['a text', Buffer.from('hello'), 'neither'],
    ['nothing', Buffer.alloc(0), 'neither'],
    ['zeros', Buffer.alloc(4_096), 'neither'],
    ['an archive that is compressed', gzipSync('hello'), 'decompress it first']
  ])('is unsupported: %s', async (_what, content, message) => {
    const path = join(root, 'file')
    await writeFile(path, content)
    await expect(openImageLayout(path)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining(message)
    })
  })

  it.each([
    ['a directory', () => join(root, 'content')],
    ['an archive', () => pack()]
  ])('is unsupported: %s of other things', async (_what, form) => {
    await write('README.md', 'hello')
    await expect(openImageLayout(form())).rejects.toMatchObject({ code: 'unsupported' })
  })
})

describe('a signal', () => {
  it('ends reading with its reason', async () => {
    const layout = await openImageLayout(await writeLayout([[named('1.0.0'), one]]))
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await expect(layout.manifest('1.0.0', signal)).rejects.toBe(reason)
    await expect(readBlob(layout, one.layers[0]!, 100, signal)).rejects.toBe(reason)
  })
})
