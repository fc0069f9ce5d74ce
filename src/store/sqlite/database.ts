import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { StoreError } from '../port.ts'
import { MIGRATIONS } from './migrations.ts'

/** A row as SQLite gives it: integers within ±2^53, texts, blobs. */
export type Row = Record<string, string | number | Uint8Array | null>
export type Value = SQLInputValue

/** One connection with its prepared statements. Every call answers at once. */
export interface Database {
  run(sql: string, ...values: Value[]): { changes: number; lastInsertRowid: number }
  get(sql: string, ...values: Value[]): Row | null
  all(sql: string, ...values: Value[]): Row[]
  /** Runs `work` in one transaction: all of it or, where it throws, nothing. */
  transact<T>(work: () => T): T
  close(): void
}

/** How long a write waits for another process's write, in milliseconds: it blocks, so it is short; the caller retries. */
const BUSY_TIMEOUT_MS = 5_000

// https://sqlite.org/rescode.html, the primary codes: the low byte of an extended one.
const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_FULL = 13

function storeError(error: unknown): unknown {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return error
  const code = error.errcode & 0xff
  if (code === SQLITE_BUSY || code === SQLITE_LOCKED) {
    return new StoreError('busy', 'another process is writing to the database', { cause: error })
  }
  if (code === SQLITE_FULL) return new StoreError('full', 'the disk of the database is full', { cause: error })
  return new StoreError('unavailable', `the database cannot do this: ${error.message}`, { cause: error })
}

function attempt<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw storeError(error)
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw new StoreError('unavailable', `the folder of the database, ${folder}, cannot be made`, { cause: error })
  }
}

/** Opens a database and brings its schema up to date. @throws StoreError `too-new` where a newer program has written it. */
export function openDatabase(path: string): Database {
  if (path !== ':memory:') makeFolder(dirname(path))
  const connection = attempt(() => new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS }))
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    const statement = connection.prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  const database: Database = {
    run: (sql, ...values) =>
      attempt(() => {
        const { changes, lastInsertRowid } = prepare(sql).run(...values)
        return { changes: Number(changes), lastInsertRowid: Number(lastInsertRowid) }
      }),
    get: (sql, ...values) => attempt(() => (prepare(sql).get(...values) as Row | undefined) ?? null),
    all: (sql, ...values) => attempt(() => prepare(sql).all(...values) as Row[]),
    transact(work) {
      // IMMEDIATE takes the write lock at once: a lock that has to be upgraded half-way can fail instead of waiting.
      attempt(() => connection.exec('BEGIN IMMEDIATE'))
      try {
        const result = work()
        attempt(() => connection.exec('COMMIT'))
        return result
      } catch (error) {
        if (connection.isTransaction) connection.exec('ROLLBACK')
        throw error
      }
    },
    close: () => connection.close()
  }
  try {
    attempt(() => {
      // WAL lets readers of other processes (a backup) go on beside the writer; FULL syncs every commit, since a message is
      // deleted from its queue on the strength of it.
      connection.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;')
      connection.exec('PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;')
    })
    migrate(database, path)
  } catch (error) {
    connection.close()
    throw error
  }
  return database

  function migrate(target: Database, name: string) {
    const version = () => Number(target.get('PRAGMA user_version')?.user_version)
    if (version() > MIGRATIONS.length) {
      throw new StoreError(
        'too-new',
        `the data in ${name} were written by a newer version of this program (schema ${version()}, this one knows ${MIGRATIONS.length}): run that version, or restore a backup`
      )
    }
    if (version() === MIGRATIONS.length) return
    target.transact(() => {
      // Another process may have migrated while this one waited for the lock.
      for (let step = version(); step < MIGRATIONS.length; step++) {
        attempt(() => connection.exec(`${MIGRATIONS[step]}; PRAGMA user_version = ${step + 1};`))
      }
    })
  }
}
