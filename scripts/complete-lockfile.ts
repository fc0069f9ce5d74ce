import { readFileSync, writeFileSync } from 'node:fs'
import { completeLockfile, type Lockfile, unlistedPackages } from './lockfile.ts'

const file = new URL('../package-lock.json', import.meta.url)
const lockfile = JSON.parse(readFileSync(file, 'utf8')) as Lockfile
const unlisted = unlistedPackages(lockfile)
if (unlisted.length > 0) writeFileSync(file, `${JSON.stringify(completeLockfile(lockfile), null, 2)}\n`)
console.log(
  unlisted.length === 0 ? 'The lockfile lists every package.' : `Listed ${unlisted.length} packages of other platforms.`
)
