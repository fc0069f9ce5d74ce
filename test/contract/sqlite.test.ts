import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { createSqliteStore } from '../../src/store/sqlite/sqlite.ts'
import { describeStore } from './store-contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'cdp-contract-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
describeStore('SQLite on disk', async () => createSqliteStore(join(folder, `${files++}.db`)))
describeStore('SQLite in memory', async () => createSqliteStore(':memory:'))
