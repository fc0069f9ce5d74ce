import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, open, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { indexTar, type TarMember } from './tar-index.ts'

let root: string
let archive: string

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tar-index-'))
  archive = join(root, 'archive.tar')
})

afterEach(() => rm(root, { recursive: true }))

async function write(path: string, content: string): Promise<void> {
  const file = join(root, 'content', path)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, content)
}

function tar(...options: string[]): void {
  execFileSync('tar', ['-C', join(root, 'content'), '-cf', archive, ...options])
}

async function index(): Promise<ReadonlyMap<string, TarMember> | null> {
  const file = await open(archive)
  try {
    return await indexTar(file, 'archive.tar')
  } finally {
    await file.close()
  }
}

function withChecksum(header: Buffer): Buffer {
  header.fill(' ', 148, 156)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

/** Each file's content, read where the index says that it lies. */
async function contents(): Promise<Record<string, string>> {
  const file = await open(archive)
  const found: Record<string, string> = {}
  for (const [path, { position, size }] of (await indexTar(file, 'archive.tar')) ?? []) {
    found[path] = (await file.read(Buffer.alloc(size), 0, size, position)).buffer.toString()
  }
  await file.close()
  return found
}

describe('the index of a tar archive', () => {
  const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(90)}`

  it.each(['gnu', 'pax', 'ustar'])('knows where each file lies that GNU tar wrote as %s', async (format) => {
    await write('short', 'one')
    await write('empty', '')
    await write('large', 'x'.repeat(100_000))
    await write('ümläut/ß', 'two')
    const path = format === 'ustar' ? `${'d'.repeat(90)}/${'e'.repeat(90)}` : long
    await write(path, 'three')
    tar(`--format=${format}`, '.')
    expect(await contents()).toEqual({
      short: 'one',
      empty: '',
      large: 'x'.repeat(100_000),
      'ümläut/ß': 'two',
      [path]: 'three'
    })
  })

  it('knows sizes in base 256, as GNU tar writes those above 8 GiB', async () => {
    await write('file', 'content')
    tar('--format=gnu', 'file')
    const file = await open(archive, 'r+')
    const header = Buffer.alloc(512)
    await file.read(header, 0, 512, 0)
    header.fill(0, 124, 136)
    header.writeUInt8(0x80, 124)
    header.writeUInt32BE('content'.length, 132)
    await file.write(withChecksum(header), 0, 512, 0)
    await file.close()
    expect(await contents()).toEqual({ file: 'content' })
  })

  it('follows links inside the archive, and none that lead nowhere or in a circle', async () => {
    await write('a/file', 'content')
    await mkdir(join(root, 'content/b'))
    for (const [path, target] of [
      ['b/link', '../a/file'],
      ['b/again', 'link'],
      ['b/out', '../../../../etc/passwd'],
      ['b/round', 'about'],
      ['b/about', 'round']
    ] as const) {
      await symlink(target, join(root, 'content', path))
    }
    execFileSync('ln', [join(root, 'content/a/file'), join(root, 'content/hard')])
    tar('.')
    expect(Object.entries(await contents()).sort()).toEqual([
      ['a/file', 'content'],
      ['b/again', 'content'],
      ['b/link', 'content'],
      ['hard', 'content']
    ])
  })

  it('has the later of two files with one path', async () => {
    await write('file', 'first')
    tar('file')
    await write('file', 'second')
    execFileSync('tar', ['-C', join(root, 'content'), '-rf', archive, 'file'])
    expect(await contents()).toEqual({ file: 'second' })
    await rm(join(root, 'content/file'))
    await symlink('nowhere', join(root, 'content/file'))
    execFileSync('tar', ['-C', join(root, 'content'), '-rf', archive, 'file'])
    expect(await contents()).toEqual({})
  })

  it('is refused where the archive breaks off or is damaged', async () => {
    await write('a', 'one')
    await write('b', 'x'.repeat(10_000))
    tar('a', 'b')
    await truncate(archive, 5_000)
    await expect(index()).rejects.toMatchObject({
      code: 'invalid',
      message: 'the archive archive.tar breaks off in the member at byte 1024'
    })
    tar('a', 'b')
    const file = await open(archive, 'r+')
    await file.write('X', 1024)
    await file.close()
    await expect(index()).rejects.toMatchObject({ code: 'invalid' })
  })

  it.each(['', '0', '3', '1e2', '-1', '9999999'])('is refused where a pax record is %j bytes long', async (length) => {
    await write(long, 'content')
    tar('--format=pax', '.')
    const file = await open(archive, 'r+')
    const content = await file.readFile()
    const at = content.indexOf(/ mtime=/.exec(content.toString('latin1'))?.[0] ?? '') - 2
    await file.write(length.padEnd(2, 'x'), at)
    await file.close()
    await expect(index()).rejects.toMatchObject({ code: 'invalid' })
  })

  it('is refused where it has more members than are read', async () => {
    for (const path of ['a', 'b', 'c']) await write(path, path)
    tar('a', 'b', 'c')
    const file = await open(archive)
    expect((await indexTar(file, 'archive.tar', 3))?.size).toBe(3)
    await expect(indexTar(file, 'archive.tar', 2)).rejects.toMatchObject({
      code: 'invalid',
      message: 'the archive archive.tar has more than 2 members'
    })
    await file.close()
  })

  it('is refused where a name is longer than any', async () => {
    await write('file', 'x'.repeat(1024 * 1024 + 1))
    tar('file')
    const file = await open(archive, 'r+')
    const header = Buffer.alloc(512)
    await file.read(header, 0, 512, 0)
    // The file becomes the long name of the next member.
    header.write('L', 156)
    await file.write(withChecksum(header), 0, 512, 0)
    await file.close()
    await expect(index()).rejects.toMatchObject({
      code: 'invalid',
      message: 'the archive archive.tar has a name or header of 1048577 bytes'
    })
  })

  it('ends, whatever the bytes are', async () => {
    await write('a', 'one')
    await write(long, 'two')
    tar('--format=pax', '.')
    const file = await open(archive)
    const original = (await file.readFile()).subarray(0, 8_192)
    await file.close()
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(original.length - 1), fc.nat(255)), { maxLength: 10 }),
        async (changes) => {
          const changed = Buffer.from(original)
          for (const [at, byte] of changes) changed[at] = byte
          await writeFile(archive, changed)
          const result = await index().catch((error: unknown) => error)
          expect(result === null || result instanceof Map || (result as { code?: string }).code === 'invalid').toBe(
            true
          )
        }
      ),
      { numRuns: 200 }
    )
  })
})
