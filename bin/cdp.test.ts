import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const cdp = fileURLToPath(new URL('./cdp.mjs', import.meta.url))

/** A Node of the machine that is too old for the service; null where it has none. */
const oldNode = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'node'))
  .find((path) => /^v(\d|1\d|2[0-3])\./.test(spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout ?? ''))

/** A copy of the command beside a command line of the test's own, in a folder without packages. */
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cdp-'))
  mkdirSync(join(folder, 'bin'))
  mkdirSync(join(folder, 'src'))
  cpSync(cdp, join(folder, 'bin/cdp.mjs'))
})

afterEach(() => rmSync(folder, { recursive: true }))

function run(cli: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  writeFileSync(join(folder, 'src/cli.ts'), cli)
  return spawnSync(process.execPath, [join(folder, 'bin/cdp.mjs'), ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ...env }
  })
}

describe('cdp', () => {
  it('hands its arguments to the command line and ends with the code that it gives', () => {
    const cli = 'export const run = async (args: string[]): Promise<number> => { console.log(args.join()); return 3 }'
    expect(run(cli, ['scan', '--json'])).toMatchObject({ status: 3, stdout: 'scan,--json\n', stderr: '' })
  })

  it('reads a file .env if there is one; what the environment sets wins', () => {
    const cli = 'export const run = async () => { console.log(process.env.PORT, process.env.HOST); return 0 }'
    expect(run(cli)).toMatchObject({ status: 0, stdout: 'undefined undefined\n' })
    writeFileSync(join(folder, '.env'), 'PORT=1\nHOST=file\n')
    expect(run(cli, [], { HOST: 'set' })).toMatchObject({ status: 0, stdout: '1 set\n' })
  })

  it('says in one line that its packages are missing', () => {
    const { status, stderr } = run("import 'fastify'\nexport const run = async () => 0")
    expect(status).toBe(2)
    expect(stderr).toMatch(/^cdp needs its packages, .* run `npm ci` .*\n$/)
  })

  it('shows any other failure as it is', () => {
    const { status, stderr } = run("import './missing.ts'\nexport const run = async () => 0")
    expect(status).toBe(1)
    expect(stderr).toContain('missing.ts')
  })

  it.skipIf(oldNode === undefined)('says in one line that Node is too old, and what to do', () => {
    const { status, stderr, stdout } = spawnSync(oldNode as string, [cdp, 'serve'], { encoding: 'utf8' })
    expect(status).toBe(2)
    expect(stderr).toMatch(/^cdp needs Node 24 or newer \(this is v\d+\.\d+\.\d+\): use `npm start` .*\n$/)
    expect(stdout).toBe('')
  })
})
