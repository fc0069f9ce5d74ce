import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseImageArgument } from './image-argument.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`

describe('an image in a registry', () => {
  it.each([
    ['localhost:5000/service:1.0.0', 'localhost:5000', 'service', '1.0.0'],
    [`host.example/team/service@${DIGEST}`, 'host.example', 'team/service', DIGEST],
    [`host.example/service:1.0.0@${DIGEST}`, 'host.example', 'service', DIGEST],
    ['service:1.0.0', null, 'service', '1.0.0'],
    ['docker://localhost:5000/service:1.0.0', 'localhost:5000', 'service', '1.0.0']
  ])('%s', (text, host, repository, reference) => {
    expect(parseImageArgument(text)).toEqual({ kind: 'registry', host, repository, reference })
  })

  it.each(['', ':', 'service', 'localhost:5000/service', 'UPPER:1', 'service@sha256:abc', 'docker://', 'oci:'])(
    '%j is none: it names no tag or digest',
    (text) => {
      expect(parseImageArgument(text)).toBeNull()
    }
  )
})

describe('an image on disk', () => {
  let folder: string

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'cdp-'))
    mkdirSync(join(folder, 'layout:odd'))
    writeFileSync(join(folder, 'layout:odd', 'oci-layout'), '{}')
    writeFileSync(join(folder, 'archive.tar'), '')
    mkdirSync(join(folder, 'plain'))
  })

  afterAll(() => rmSync(folder, { recursive: true }))

  it('is a path that is there, with the tag after its colon', () => {
    const path = join(folder, 'layout:odd')
    expect(parseImageArgument(path)).toEqual({ kind: 'layout', path, reference: null })
    expect(parseImageArgument(`${path}:1.0.0`)).toEqual({ kind: 'layout', path, reference: '1.0.0' })
    expect(parseImageArgument(`oci:${path}:1.0.0`)).toEqual({ kind: 'layout', path, reference: '1.0.0' })
    const archive = join(folder, 'archive.tar')
    const reference = 'localhost/service:1.0.0'
    expect(parseImageArgument(`docker-archive:${archive}:${reference}`)).toEqual({
      kind: 'layout',
      path: archive,
      reference
    })
  })

  it('is a path that is not there, where it is written as one', () => {
    expect(parseImageArgument('./missing:1.0.0')).toEqual({ kind: 'layout', path: './missing', reference: '1.0.0' })
    expect(parseImageArgument('oci:missing')).toEqual({ kind: 'layout', path: 'missing', reference: null })
  })

  it('is not hidden, nor hides an image, by a folder that is called like it', () => {
    const before = process.cwd()
    process.chdir(folder)
    try {
      expect(parseImageArgument('plain:1.0.0')).toMatchObject({ kind: 'registry', repository: 'plain' })
      expect(parseImageArgument('layout:odd')).toMatchObject({ kind: 'layout', path: 'layout:odd' })
      expect(parseImageArgument('archive.tar')).toMatchObject({ kind: 'layout', path: 'archive.tar' })
    } finally {
      process.chdir(before)
    }
  })
})
