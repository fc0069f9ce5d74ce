import { mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
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

/** Short, since it blocks; whoever writes tries again. */
const BUSY_TIMEOUT_MS = 5_000

// https://sqlite.org/rescode.html, the primary codes: the low byte of an extended one.
const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_READONLY = 8
const SQLITE_CORRUPT = 11
const SQLITE_FULL = 13
const SQLITE_CANTOPEN = 14
const SQLITE_TOOBIG = 18
const SQLITE_CONSTRAINT = 19
const SQLITE_MISMATCH = 20
const SQLITE_NOTADB = 26

/** What SQLite's failures mean to whoever runs the service; an error that tells of no failure of the store stays as it is. */
function storeError(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  // A connection or statement that is closed already.
  if (error.code === 'ERR_INVALID_STATE') return new StoreError('unavailable', `${path} is closed`, { cause: error })
  if (!('errcode' in error) || typeof error.errcode !== 'number') return error
  switch (error.errcode & 0xff) {
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
      // The database is well, and what it was given is at fault: it would be each time.
      return error
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return new StoreError('busy', `another process is writing to ${path}`, { cause: error })
    case SQLITE_FULL:
      return new StoreError('full', `the disk of ${path} is full`, { cause: error })
    case SQLITE_READONLY:
      return new StoreError('unavailable', `${path} cannot be written`, { cause: error })
    case SQLITE_CANTOPEN:
      return new StoreError('unavailable', `${path} cannot be opened`, { cause: error })
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new StoreError('unavailable', `${path} is damaged, or no SQLite database`, { cause: error })
    default:
      return new StoreError('unavailable', `${path} cannot do this: ${error.message}`, { cause: error })
  }
}

function makeFolder(folder: string): void {
  try {
    // One by one: Node's own recursive way never returns where a folder cannot be made in one that is no longer there.
    const missing: string[] = []
    let at = resolve(folder)
    for (; statSync(at, { throwIfNoEntry: false }) === undefined; at = dirname(at)) missing.unshift(at)
    if (!statSync(at).isDirectory()) throw new Error(`${at} is no folder`)
    for (const path of missing) mkdirSync(path)
  } catch (error) {
    throw new StoreError('unavailable', `the folder of the database, ${folder}, cannot be made`, { cause: error })
  }
}

export interface DatabaseOptions {
  /** How long a write waits for another process's write, in milliseconds: it blocks the whole process meanwhile. */
  readonly busyTimeoutMs?: number
  /** The steps of the schema, see `MIGRATIONS`. */
  readonly migrations?: readonly string[]
}

/** Opens a database and brings its schema up to date. @throws StoreError `too-new` where a newer program has written it. */
export function openDatabase(path: string, options: DatabaseOptions = {}): Database {
  const { busyTimeoutMs = BUSY_TIMEOUT_MS, migrations = MIGRATIONS } = options
  const attempt = <T>(call: () => T): T => {
    try {
      return call()
    } catch (error) {
      throw storeError(path, error)
    }
  }
  if (path !== ':memory:') makeFolder(dirname(path))
  const connection = attempt(() => new DatabaseSync(path, { timeout: busyTimeoutMs }))
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
    close() {
      if (connection.isOpen) connection.close()
    }
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
    if (version() > migrations.length) {
      throw new StoreError(
        'too-new',
        `the data in ${name} were written by a newer version of this program (schema ${version()}, this one knows ${migrations.length}): run that version, or restore a backup`
      )
    }
    if (version() === migrations.length) return
    target.transact(() => {
      // Another process may have migrated while this one waited for the lock.
      for (let step = version(); step < migrations.length; step++) {
        attempt(() => connection.exec(`${migrations[step]}; PRAGMA user_version = ${step + 1};`))
      }
    })
  }
}
