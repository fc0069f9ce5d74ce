import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../src/domain/digest.ts'
import { buildImage, buildIndex, buildLayer, opaque, pushImage, whiteout, writeLayout } from './image-builder.ts'
import { startRegistry } from './registry.ts'
import { buildTar, gnuLongHeader, tarEntry } from './tar-builder.ts'

const hasSkopeo = spawnSync('skopeo', ['--version']).status === 0

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'image-builder-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

/** What GNU tar lists: type and mode, size, name, link. */
function listed(archive: Buffer): string[] {
  const text = execFileSync('tar', ['--list', '--verbose', '--numeric-owner', '--quoting-style=literal', '-f', '-'], {
    input: archive,
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' },
    stdio: ['pipe', 'pipe', 'ignore']
  }).toString()
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ 0\/0 +/, ' ').replace(' 2020-01-01 00:00', ''))
}

describe('the image builder', () => {
  it('builds archives that GNU tar reads', () => {
    const long = `${'long/'.repeat(30)}name`
    const archive = buildTar([
      { path: 'app', type: 'directory' },
      { path: 'app/run.sh', content: '#!/bin/sh\n', mode: 0o755 },
      { path: 'app/link', type: 'symlink', linkTarget: 'run.sh' },
      { path: 'app/hard', type: 'hardlink', linkTarget: 'app/run.sh' },
      { path: 'pipe', type: 'fifo' },
      { path: long, content: 'long' },
      { path: 'to-long', type: 'symlink', linkTarget: long },
      { path: 'grüße', content: 'utf-8' },
      whiteout('app/gone'),
      opaque('app/empty')
    ])
    expect(listed(archive)).toEqual([
      'drwxr-xr-x 0 app',
      '-rwxr-xr-x 10 app/run.sh',
      'lrw-r--r-- 0 app/link -> run.sh',
      'hrw-r--r-- 0 app/hard link to app/run.sh',
      'prw-r--r-- 0 pipe',
      `-rw-r--r-- 4 ${long}`,
      `lrw-r--r-- 0 to-long -> ${long}`,
      '-rw-r--r-- 5 grüße',
      '-rw-r--r-- 0 app/.wh.gone',
      '-rw-r--r-- 0 app/empty/.wh..wh..opq'
    ])
  })

  it('writes the long names of GNU', () => {
    const long = 'x'.repeat(150)
    const archive = Buffer.concat([
      ...gnuLongHeader(long, 'L'),
      ...tarEntry({ path: 'short', content: 'a' }),
      Buffer.alloc(1024)
    ])
    expect(listed(archive)).toEqual([`-rw-r--r-- 1 ${long}`])
  })

  it('compresses as asked, and names what is inside by its diffId', () => {
    const entries = [{ path: 'a', content: 'a' }]
    const plain = buildLayer(entries, { compression: 'none' })
    const gzip = buildLayer(entries)
    const zstd = buildLayer(entries, { compression: 'zstd' })
    expect(digestOf(gunzipSync(gzip.blob))).toBe(plain.digest)
    expect(digestOf(zstdDecompressSync(zstd.blob))).toBe(plain.digest)
    expect(new Set([plain.diffId, gzip.diffId, zstd.diffId])).toEqual(new Set([plain.digest]))
    expect(gzip.digest).toBe(digestOf(gzip.blob))
  })

  it('builds the same bytes each time', () => {
    const build = () => buildImage({ layers: [buildLayer([{ path: 'a', content: 'a' }])], labels: { a: 'b' } }).digest
    expect(build()).toBe(build())
  })

  it.skipIf(!hasSkopeo)('writes layouts that skopeo reads, of several tags and platforms', async () => {
    const layer = buildLayer([{ path: 'a', content: 'a' }])
    const image = buildImage({ layers: [layer], labels: { 'defra.cdp.service.name': 'service' } })
    const arm = buildImage({ layers: [layer], platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } })
    await writeLayout(directory, image, '1.0.0')
    await writeLayout(directory, buildIndex([image, arm]), '2.0.0')
    await writeLayout(directory, image, '1.0.0')
    const inspect = (tag: string, ...options: string[]) =>
      JSON.parse(execFileSync('skopeo', ['inspect', ...options, `oci:${directory}:${tag}`]).toString())
    expect(inspect('1.0.0')).toMatchObject({
      Digest: image.digest,
      Architecture: 'amd64',
      Labels: { 'defra.cdp.service.name': 'service' },
      Layers: [layer.digest]
    })
    expect(inspect('2.0.0', '--raw').manifests).toHaveLength(2)
    // Reads and verifies every blob.
    execFileSync('skopeo', ['copy', '--all', `oci:${directory}:2.0.0`, `oci:${directory}-copy:2.0.0`])
    rmSync(`${directory}-copy`, { recursive: true })
  })

  it('pushes an image and an index to a registry', async () => {
    const registry = await startRegistry()
    try {
      const image = buildImage({ layers: [buildLayer([{ path: 'a', content: 'a' }])], mediaTypes: 'docker' })
      await pushImage(registry.url, 'team/service', '1.0.0', image)
      const index = buildIndex([image, buildImage({ layers: [], platform: { os: 'linux', architecture: 'arm64' } })])
      await pushImage(registry.url, 'team/service', '2.0.0', index)
      for (const [tag, { digest }] of [['1.0.0', image] as const, ['2.0.0', index] as const]) {
        const response = await fetch(new URL(`/v2/team/service/manifests/${tag}`, registry.url), {
          headers: { Accept: '*/*' }
        })
        expect(digestOf(await response.bytes())).toBe(digest)
      }
      for (const [digest] of index.blobs) {
        const response = await fetch(new URL(`/v2/team/service/blobs/${digest}`, registry.url))
        expect(digestOf(await response.bytes())).toBe(digest)
      }
    } finally {
      await registry.close()
    }
  })

  it('says what a registry answered that does not take the push', async () => {
    const registry = await startRegistry()
    try {
      const push = pushImage(registry.url, 'service', 'not a tag', buildImage({ layers: [] }))
      await expect(push).rejects.toThrow(/^PUT .* answered 4\d\d: /)
    } finally {
      await registry.close()
    }
  })
})
