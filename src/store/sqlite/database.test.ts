import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { StoreError, type StoreErrorCode } from '../port.ts'
import { type DatabaseOptions, openDatabase } from './database.ts'
import { MIGRATIONS } from './migrations.ts'
import { createSqliteStore } from './sqlite.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cdp-sqlite-'))
  path = join(folder, 'cdp.db')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** What another program sees in the file, or does to it. */
function beside<T>(look: (connection: DatabaseSync) => T): T {
  const connection = new DatabaseSync(path)
  try {
    return look(connection)
  } finally {
    connection.close()
  }
}

function failure(call: () => unknown): StoreError {
  try {
    call()
  } catch (error) {
    if (error instanceof StoreError) return error
    throw error
  }
  throw new Error('it did not fail')
}

async function rejection(call: Promise<unknown>): Promise<StoreError> {
  const error = await call.then(
    () => null,
    (reason: unknown) => reason
  )
  if (error instanceof StoreError) return error
  throw error ?? new Error('it did not fail')
}

function expectFailure(error: StoreError, code: StoreErrorCode, sentence: string): void {
  expect({ code: error.code, message: error.message }).toEqual({ code, message: sentence })
  expect(error.cause).toBeInstanceOf(Error)
}

describe('the schema of a file', () => {
  const versionOf = () => beside((connection) => connection.prepare('PRAGMA user_version').get()?.user_version)
  const tables = () =>
    beside((connection) =>
      connection
        .prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`)
        .all()
        .map(({ name }) => name)
    )
  const migrations = ['CREATE TABLE a (v TEXT)', "CREATE TABLE b (v TEXT); INSERT INTO b VALUES ('of step 2')"]

  it('is made in a new file, whose folder is made too', () => {
    path = join(folder, 'some', 'where', 'cdp.db')
    openDatabase(path).close()
    expect(versionOf()).toBe(MIGRATIONS.length)
    expect(tables()).toContain('events')
  })

  it('is brought up by the steps that it lacks, and no other', () => {
    openDatabase(path, { migrations: migrations.slice(0, 1) }).close()
    expect([versionOf(), tables()]).toEqual([1, ['a']])
    for (let time = 0; time < 2; time++) {
      openDatabase(path, { migrations }).close()
      expect([versionOf(), tables()]).toEqual([2, ['a', 'b']])
      expect(beside((connection) => connection.prepare('SELECT count(*) AS rows FROM b').get())).toEqual({ rows: 1 })
    }
  })

  it('stays as it was where a step fails', () => {
    openDatabase(path, { migrations: migrations.slice(0, 1) }).close()
    const broken = [...migrations, 'CREATE TABLE c (v TEXT); CREATE TABLE a (v TEXT)']
    expect(failure(() => openDatabase(path, { migrations: broken })).message).toMatch(/table a already exists/)
    expect([versionOf(), tables()]).toEqual([1, ['a']])
  })

  it('that a newer program has written is refused, and left alone', () => {
    openDatabase(path, { migrations }).close()
    const before = readFileSync(path)
    const error = failure(() => openDatabase(path, { migrations: migrations.slice(0, 1) }))
    expect(error.code).toBe('too-new')
    expect(error.message).toBe(
      `the data in ${path} were written by a newer version of this program (schema 2, this one knows 1): run that version, or restore a backup`
    )
    expect(readFileSync(path).equals(before)).toBe(true)
  })
})

describe('a database on disk', () => {
  it('is written ahead of itself, and syncs every commit', () => {
    const database = openDatabase(path)
    expect(database.get('PRAGMA journal_mode')).toEqual({ journal_mode: 'wal' })
    expect(database.get('PRAGMA synchronous')).toEqual({ synchronous: 2 })
    database.close()
  })

  it('shows other programs what is committed, at once', async () => {
    const store = createSqliteStore(path)
    await store.putSetting('a', '1')
    const seen = beside((connection) => connection.prepare('SELECT value FROM settings').get()?.value)
    expect(seen).toBe('1')
    await store.close()
  })

  it('keeps what was committed for who opens it again', async () => {
    const first = createSqliteStore(path)
    await first.putSetting('a', '1')
    await first.close()
    const second = createSqliteStore(path)
    expect(await second.setting('a')).toBe('1')
    await second.close()
  })

  it('takes the writes of several processes, and loses none', async () => {
    await createSqliteStore(path).close()
    const program = `
      const { createSqliteStore } = await import(${JSON.stringify(new URL('./sqlite.ts', import.meta.url).href)})
      const store = createSqliteStore(${JSON.stringify(path)})
      for (let round = 0; round < 50; round++) {
        await store.transact(function* (tx) {
          const known = yield* tx.tag('orders', '1.0.0')
          yield* tx.putTag({ repository: 'orders', tag: '1.0.0', pushedAt: (known?.pushedAt ?? 0) + 1, deletedAt: null })
        })
      }
      await store.close()`
    const children = [1, 2, 3].map(() =>
      spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'ignore', 'inherit'] })
    )
    const exits = await Promise.all(children.map((child) => once(child, 'exit')))
    expect(exits.map(([code]) => code)).toEqual([0, 0, 0])
    const store = createSqliteStore(path)
    expect((await store.transact((tx) => tx.tag('orders', '1.0.0')))?.pushedAt).toBe(150)
    await store.close()
  })
})

describe('a failure of SQLite is a StoreError', () => {
  const open = (options: DatabaseOptions = {}) => createSqliteStore(path, { busyTimeoutMs: 20, ...options })

  it('where another process writes for too long', async () => {
    const store = open()
    const other = new DatabaseSync(path)
    other.exec('BEGIN IMMEDIATE')
    expectFailure(await rejection(store.putSetting('a', '1')), 'busy', `another process is writing to ${path}`)
    expectFailure(
      await rejection(store.transact((tx) => tx.clearDeployments())),
      'busy',
      `another process is writing to ${path}`
    )
    // Who reads need not wait, and once the other is done, writes go on.
    expect(await store.setting('a')).toBeNull()
    other.exec('COMMIT')
    other.close()
    await store.putSetting('a', '1')
    expect(await store.setting('a')).toBe('1')
    await store.close()
  })

  it('where the disk is full, and nothing of the transaction is kept', async () => {
    const database = openDatabase(path)
    database.run("INSERT INTO settings VALUES ('a', '1')")
    // As many pages as there are: to SQLite, a disk with no room for another.
    const pages = Number(database.get('PRAGMA page_count')?.page_count)
    database.get(`PRAGMA max_page_count = ${pages}`)
    const error = failure(() =>
      database.transact(() => {
        database.run("UPDATE settings SET value = '2' WHERE name = 'a'")
        database.run("INSERT INTO settings VALUES ('b', ?)", 'x'.repeat(1_000_000))
      })
    )
    expectFailure(error, 'full', `the disk of ${path} is full`)
    expect(database.all('SELECT * FROM settings')).toEqual([{ name: 'a', value: '1' }])
    database.run("UPDATE settings SET value = '3' WHERE name = 'a'")
    database.close()
  })

  it('where the file is no database', () => {
    writeFileSync(path, 'This is a text, and long enough that it is no empty file to SQLite.'.repeat(100))
    expectFailure(failure(open), 'unavailable', `${path} is damaged, or no SQLite database`)
  })

  it('where the file is damaged', async () => {
    const store = open()
    for (let index = 0; index < 200; index++) await store.putSetting(`name-${index}`, 'x'.repeat(100))
    await store.close()
    const sentence = `${path} is damaged, or no SQLite database`
    const bytes = readFileSync(path)
    // The last pages, with the newest settings: it opens all the same.
    writeFileSync(path, Buffer.from(bytes).fill(0xa5, bytes.length - 4 * 4096))
    const damaged = open()
    expectFailure(await rejection(damaged.setting('name-99')), 'unavailable', sentence)
    await damaged.close()
    writeFileSync(path, Buffer.from(bytes).fill(0xa5, 4096))
    expectFailure(failure(open), 'unavailable', sentence)
  })

  it('where the path is a folder, or its folder a file', () => {
    path = folder
    expectFailure(failure(open), 'unavailable', `${folder} cannot be opened`)
    const file = join(folder, 'file')
    writeFileSync(file, '')
    path = join(file, 'cdp.db')
    expectFailure(failure(open), 'unavailable', `the folder of the database, ${file}, cannot be made`)
  })

  it('where it must not be written', async () => {
    const database = openDatabase(path)
    // In place of a file without the right to write: root, whom tests often run as, has it all the same.
    database.get('PRAGMA query_only = 1')
    expectFailure(
      failure(() => database.run("INSERT INTO settings VALUES ('a', '1')")),
      'unavailable',
      `${path} cannot be written`
    )
    database.close()
  })

  it('but one of what it was given is not', () => {
    const database = openDatabase(path)
    const insert = () => database.run("INSERT INTO settings VALUES ('a', '1')")
    insert()
    expect(insert).toThrow(/UNIQUE constraint failed/)
    expect(insert).not.toThrow(StoreError)
    database.close()
  })

  it('but an error of the work is passed on as it is', async () => {
    const store = open()
    const fault = new TypeError('of the work')
    const work = store.transact(() => {
      throw fault
    })
    await expect(work).rejects.toBe(fault)
    await store.close()
  })

  it('and work that waits is refused: other writes would fall into its transaction', async () => {
    const store = open()
    const work = store.transact(function* (tx) {
      yield* tx.putRollout({ account: '1', ecsDeploymentId: 'e', eventName: 'n', eventType: null, reason: null, at: 0 })
      yield Promise.resolve()
    })
    await expect(work).rejects.toThrow('must not wait')
    expect(await store.rolloutOf('1', 'e')).toBeNull()
    await store.close()
  })
})

it('a log from which somebody took events is not whole', async () => {
  const store = createSqliteStore(path)
  const sql = (text: string) => beside((connection) => connection.exec(text))
  const insert = `INSERT INTO events (key, channel, time, sent_at, received_at, message_id, body, outcome)
    VALUES (hex(randomblob(8)), 'ecs', 0, 0, 0, 'm', '{}', 'done');`
  sql(insert.repeat(3))
  expect(await store.isEventLogWhole()).toBe(true)
  for (const where of ['sequence = 1', 'sequence = 3', 'true']) {
    sql(`DELETE FROM events WHERE ${where}`)
    expect(await store.isEventLogWhole()).toBe(false)
  }
  await store.close()
})
