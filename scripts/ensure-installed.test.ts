import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

// A project with one package from a file beside it: npm's own work is real, and needs no registry.
const folder = mkdtempSync(join(tmpdir(), 'ensure-installed-'))
const project = join(folder, 'project')
const installed = join(project, 'node_modules/leaf/package.json')
const lock = join(project, '.install.lock')
const oldNode = join(folder, 'old-node')

const env = {
  ...process.env,
  npm_config_offline: 'true',
  npm_config_cache: join(folder, 'cache'),
  npm_config_audit: 'false'
}
const script = join(project, 'scripts/ensure-installed.mjs')

function npm(cwd: string, ...args: string[]): void {
  const { status, stderr } = spawnSync('npm', args, { cwd, env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`npm ${args.join(' ')}: ${stderr}`)
}

/** Runs the script to its end: what it wrote to stderr, with how it ended. */
function ensure(extra: NodeJS.ProcessEnv = {}): { code: number | null; said: string } {
  const { status, stderr } = spawnSync(process.execPath, [script], { env: { ...env, ...extra }, encoding: 'utf8' })
  return { code: status, said: stderr }
}

beforeAll(() => {
  mkdirSync(join(folder, 'leaf'))
  writeFileSync(join(folder, 'leaf/package.json'), JSON.stringify({ name: 'leaf', version: '1.0.0' }))
  mkdirSync(join(project, 'scripts'), { recursive: true })
  cpSync(new URL('./ensure-installed.mjs', import.meta.url), script)
  npm(folder, 'pack', './leaf', '--pack-destination', project)
  const manifest = { name: 'project', version: '1.0.0', devDependencies: { leaf: 'file:leaf-1.0.0.tgz' } }
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest))
  npm(project, 'install', '--package-lock-only')
  mkdirSync(oldNode)
  writeFileSync(join(oldNode, 'node'), '#!/bin/sh\necho v20.20.2\n', { mode: 0o755 })
})

beforeEach(() => {
  rmSync(join(project, 'node_modules'), { recursive: true, force: true })
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('what is installed is what the lockfile lists', () => {
  it('installs in a fresh clone, development packages too, and does nothing the next time', () => {
    expect(ensure({ NODE_ENV: 'production' })).toMatchObject({ code: 0, said: expect.stringContaining('Installed in') })
    expect(existsSync(installed)).toBe(true)
    expect(ensure()).toEqual({ code: 0, said: '' })
  })

  it('installs again when a package is of another version, is superfluous, or has been deleted', () => {
    ensure()
    const list = join(project, 'node_modules/.package-lock.json')
    const asInstalled = readFileSync(list, 'utf8')
    const drifts = [
      () =>
        writeFileSync(
          list,
          asInstalled.replace('"version": "1.0.0",\n      "resolved"', '"version": "0.9.0",\n      "resolved"')
        ),
      () => writeFileSync(list, asInstalled.replace('"packages": {', '"packages": { "node_modules/more": {},')),
      () => rmSync(join(project, 'node_modules/leaf'), { recursive: true })
    ]
    for (const drift of drifts) {
      drift()
      expect(ensure()).toMatchObject({ code: 0, said: expect.stringContaining('Installed in') })
      expect(readFileSync(list, 'utf8')).toBe(asInstalled)
      expect(existsSync(installed)).toBe(true)
    }
  })

  it('says in one line what is wrong when scripts are ignored and Node is too old, without installing first', () => {
    const PATH = `${oldNode}:${process.env.PATH}`
    const { code, said } = ensure({ PATH, npm_config_ignore_scripts: 'true' })
    expect(code).toBe(1)
    expect(said).toMatch(/^Node 24 is missing: .* Run: npm ci --include=dev --ignore-scripts=false\n$/)
    expect(existsSync(installed)).toBe(false)
  })

  it('says so when npm ci fails', () => {
    const manifest = readFileSync(join(project, 'package.json'), 'utf8')
    writeFileSync(
      join(project, 'package.json'),
      manifest.replace('devDependencies', 'dependencies').replace('leaf"', 'other"')
    )
    const { code, said } = ensure()
    writeFileSync(join(project, 'package.json'), manifest)
    expect(code).toBe(1)
    expect(said).toContain('The packages could not be installed: npm ci ended with 1')
    expect(existsSync(lock)).toBe(false)
  })

  it('waits while another process installs', async () => {
    const holder = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    writeFileSync(lock, `${holder.pid}\n`)
    const waiting = spawn(process.execPath, [script], { env })
    const [said] = await once(waiting.stderr, 'data')
    expect(String(said)).toContain('waiting for it')
    expect(existsSync(installed)).toBe(false)
    rmSync(lock)
    holder.kill()
    expect(await once(waiting, 'exit')).toEqual([0, null])
    expect(existsSync(installed)).toBe(true)
  })

  it('takes over from a process that was killed', async () => {
    const dead = spawn(process.execPath, ['-e', ''])
    await once(dead, 'exit')
    writeFileSync(lock, `${dead.pid}\n`)
    expect(ensure()).toMatchObject({ code: 0, said: expect.stringContaining('Installed in') })
    expect(existsSync(lock)).toBe(false)
  })
})
