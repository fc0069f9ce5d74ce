import type {
  ArtifactRecord,
  DeploymentRecord,
  DeploymentRow,
  ExtractionRecord,
  ImageRecord,
  JobState,
  LayerRecord,
  LinkRecord,
  LoggedEvent,
  Page,
  PageOf,
  RequestRecord,
  RolloutRecord,
  RunningRecord,
  ScanJob,
  ServiceActionRecord,
  SquashedRow,
  Store,
  Transaction,
  Work
} from '../port.ts'
import { type Database, type DatabaseOptions, openDatabase, type Row, type Value } from './database.ts'
import { createTransaction, jobOf, putJob, recordOf, recordsOf, tasksOf } from './transaction.ts'

/** Runs a transaction's work, which never has to wait here. */
function settle<T>(work: Work<T>): T {
  const step = work.next()
  if (step.done !== true) throw new Error('a transaction on SQLite must not wait for a promise')
  return step.value
}

/** A WHERE clause of equalities, for the values that are given. */
function where(equalities: Record<string, Value | undefined>): { clause: string; values: Value[] } {
  const given = Object.entries(equalities).filter((entry): entry is [string, Value] => entry[1] !== undefined)
  return {
    clause: given.length === 0 ? '' : `WHERE ${given.map(([column]) => `${column} = ?`).join(' AND ')}`,
    values: given.map(([, value]) => value)
  }
}

const EVENT_COLUMNS = `sequence, key, channel, source, detail_type, account, event_id, time, sent_at, received_at, message_id,
  body, outcome, reason, duplicates`

function eventOf(row: Row): LoggedEvent {
  return {
    sequence: Number(row.sequence),
    key: String(row.key),
    channel: row.channel as LoggedEvent['channel'],
    source: row.source as string | null,
    detailType: row.detail_type as string | null,
    account: row.account as string | null,
    eventId: row.event_id as string | null,
    time: Number(row.time),
    sentAt: Number(row.sent_at),
    receivedAt: Number(row.received_at),
    messageId: String(row.message_id),
    body: String(row.body),
    outcome: row.outcome as LoggedEvent['outcome'],
    reason: row.reason as string | null,
    duplicates: Number(row.duplicates)
  }
}

/** The one figure of a query that counts or sums. */
function count(database: Database, sql: string, ...values: Value[]): number {
  return Number(database.get(sql, ...values)?.total)
}

/**
 * The store on SQLite: one file, or `:memory:`. One process writes at a time, others wait up to five seconds for it.
 * @param path the database's file; its folder is made where it is missing.
 * @throws StoreError `too-new` where a newer program has written the file, `unavailable` where it cannot be opened.
 */
export function createSqliteStore(path: string, options: DatabaseOptions = {}): Store {
  const database = openDatabase(path, options)
  const transaction: Transaction = createTransaction(database)

  /** The deployments of tasks, read once each. */
  function withDeployments<T extends { readonly deployment: string | null }>(tasks: readonly T[]) {
    const known = new Map<string, DeploymentRecord | null>()
    const rows: { task: T; deployment: DeploymentRecord }[] = []
    for (const task of tasks) {
      if (task.deployment === null) continue
      if (!known.has(task.deployment)) known.set(task.deployment, settle(transaction.deployment(task.deployment)))
      const deployment = known.get(task.deployment)
      if (deployment) rows.push({ task, deployment })
    }
    return rows
  }

  /** The distinct values of an indexed column, in order, each found from the one before: DISTINCT would read every artifact. */
  function distinctArtifacts(column: 'service' | 'repository'): string[] {
    return database
      .all(
        `WITH RECURSIVE found (value) AS (
           SELECT min(${column}) FROM artifacts
           UNION ALL
           SELECT (SELECT min(${column}) FROM artifacts WHERE ${column} > value) FROM found WHERE value IS NOT NULL
         ) SELECT value FROM found WHERE value IS NOT NULL`
      )
      .map((row) => String(row.value))
  }

  // Asked for every few seconds, and most of it is as it was: parsing would be nine tenths of the work.
  const lastRunning = new Map<string, { readonly doc: string; readonly record: RunningRecord }>()

  function runningRecord({ service, environment, doc }: Row): RunningRecord {
    const place = `${environment} ${service}`
    const last = lastRunning.get(place)
    if (last !== undefined && last.doc === doc) return last.record
    const record = JSON.parse(String(doc)) as RunningRecord
    lastRunning.set(place, { doc: String(doc), record })
    return record
  }

  function requestRow(id: Value): { kind: 'request'; request: RequestRecord } | null {
    const request = settle(transaction.request(String(id)))
    return request === null ? null : { kind: 'request', request }
  }

  const store: Store = {
    description: path === ':memory:' ? 'SQLite in memory' : `SQLite in ${path}`,

    async transact(work) {
      return database.transact(() => settle(work(transaction)))
    },
    async ping() {
      database.get('SELECT 1')
    },
    async close() {
      database.close()
    },

    async events({ outcome, source }, { offset, limit }) {
      const { clause, values } = where({ outcome, source })
      const rows = database.all(
        `SELECT ${EVENT_COLUMNS} FROM events ${clause} ORDER BY sequence DESC LIMIT ? OFFSET ?`,
        ...values,
        limit,
        offset
      )
      const total = count(database, `SELECT coalesce(sum(total), 0) AS total FROM event_totals ${clause}`, ...values)
      return { rows: rows.map(eventOf), total }
    },
    async eventsAfter(sequence, limit) {
      return database
        .all(`SELECT ${EVENT_COLUMNS} FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?`, sequence, limit)
        .map(eventOf)
    },
    async isEventLogWhole() {
      // AUTOINCREMENT never gives a number twice, and a transaction that is rolled back gives its numbers back.
      const row = database.get('SELECT count(*) AS total, coalesce(max(sequence), 0) AS last FROM events')
      const given = database.get(`SELECT seq FROM sqlite_sequence WHERE name = 'events'`)?.seq ?? 0
      return row?.total === row?.last && row?.last === given
    },

    async deploymentRows({ environment }, page) {
      const { clause, values } = where({ environment })
      const and = clause.replace('WHERE', 'AND')
      const rows = pageOfRows(
        `SELECT 'task' AS kind, key, deployed_at, environment, service, deployment_id, task FROM tasks
           WHERE service IS NOT NULL ${and}
         UNION ALL
         SELECT 'request', deployment_id, requested_at, environment, service, deployment_id, '' FROM requests
           WHERE started = 0 ${and}
         ORDER BY deployed_at DESC, environment, service, deployment_id, task, key LIMIT ? OFFSET ?`,
        [...values, ...values],
        page
      )
      const total =
        count(database, `SELECT coalesce(sum(tasks), 0) AS total FROM list_totals ${clause}`, ...values) +
        count(database, `SELECT count(*) AS total FROM requests WHERE started = 0 ${and}`, ...values)
      return { rows: rows.map(deploymentRow).filter((row) => row !== null), total }
    },
    async squashedRows({ environment }, page) {
      const { clause, values } = where({ environment })
      const and = clause.replace('WHERE', 'AND')
      const rows = pageOfRows(
        `SELECT 'task' AS kind, s.newest_task AS key, s.deployed_at AS deployed_at, s.environment AS environment,
           d.service AS service, d.deployment_id AS deployment_id, s.status AS status, s.count AS count
           FROM deployment_statuses s JOIN deployments d ON d.key = s.deployment
           ${environment === undefined ? '' : 'WHERE s.environment = ?'}
         UNION ALL
         SELECT 'request', deployment_id, requested_at, environment, service, deployment_id, 'REQUESTED', 0 FROM requests
           WHERE started = 0 ${and}
         ORDER BY deployed_at DESC, environment, service, deployment_id, status, key LIMIT ? OFFSET ?`,
        [...values, ...values],
        page
      )
      const total =
        count(database, `SELECT coalesce(sum(statuses), 0) AS total FROM list_totals ${clause}`, ...values) +
        count(database, `SELECT count(*) AS total FROM requests WHERE started = 0 ${and}`, ...values)
      return { rows: rows.map(squashedRow).filter((row) => row !== null), total }
    },
    async deploymentNamed(id) {
      const ecsId = id.startsWith('ecs-svc/') ? id : `ecs-svc/${id}`
      const named = (column: string, value: string) =>
        recordOf<DeploymentRecord>(
          database.get(
            `SELECT doc FROM deployments WHERE ${column} = ? ORDER BY begun_at DESC, key DESC LIMIT 1`,
            value
          )
        )
      const fits = [
        named('portal_id', id),
        named('ecs_deployment_id', ecsId),
        named('task_definition', id),
        named('made_id', id)
      ].filter((deployment) => deployment !== null)
      return fits.reduce<DeploymentRecord | null>(
        (newest, deployment) => (newest === null || deployment.begunAt > newest.begunAt ? deployment : newest),
        null
      )
    },
    async requestNamed(id) {
      return settle(transaction.request(id))
    },
    async tasksOfDeployment(deployment, limit) {
      return tasksOf(
        database.all(
          'SELECT doc, deployment_id FROM tasks WHERE deployment = ? ORDER BY deployed_at DESC, task, key LIMIT ?',
          deployment,
          limit
        )
      )
    },
    async rolloutOf(account, ecsDeploymentId): Promise<RolloutRecord | null> {
      return settle(transaction.rollout(account, ecsDeploymentId))
    },
    async linksOf(portalId): Promise<readonly LinkRecord[]> {
      return settle(transaction.linksOfPortalId(portalId))
    },
    async linksOfEcsDeployment(ecsDeploymentId) {
      return recordsOf<LinkRecord>(
        database.all('SELECT doc FROM links WHERE ecs_deployment_id = ? ORDER BY account', ecsDeploymentId)
      )
    },
    async serviceActionsOf(deployment, limit) {
      const { account, group, begunAt } = deployment
      if (group === null) return []
      const following = database.get(
        'SELECT min(begun_at) AS begun_at FROM deployments WHERE account = ? AND ecs_group = ? AND begun_at > ?',
        account,
        group,
        begunAt
      )
      return recordsOf<ServiceActionRecord>(
        database.all(
          `SELECT doc FROM service_actions WHERE account = ? AND ecs_service = ? AND at >= ? AND at < ?
           ORDER BY at DESC, key DESC LIMIT ?`,
          account,
          group.replace(/^service:/, ''),
          begunAt,
          (following?.begun_at as number | null) ?? Number.MAX_SAFE_INTEGER,
          limit
        )
      ).reverse()
    },
    async running(service) {
      const { clause, values } = where({ service })
      return database
        .all(`SELECT service, environment, doc FROM running ${clause} ORDER BY service, environment`, ...values)
        .map(runningRecord)
    },
    async tasksLiveAt(at, service) {
      const and = service === undefined ? '' : 'AND service = ?'
      const values = service === undefined ? [] : [service]
      const live = 'one_off = 0 AND service IS NOT NULL'
      const rows = [
        ...database.all(
          `SELECT doc, deployment_id FROM tasks WHERE ${live} AND stopped_at IS NULL AND created_at <= ? ${and}`,
          at,
          ...values
        ),
        ...database.all(
          `SELECT doc, deployment_id FROM tasks WHERE ${live} AND stopped_at > ? AND created_at <= ? ${and}`,
          at,
          at,
          ...values
        )
      ]
      return withDeployments(tasksOf(rows))
    },

    async artifacts(repository) {
      const { clause, values } = where({ repository })
      return recordsOf<ArtifactRecord>(
        database.all(
          `SELECT doc FROM artifacts ${clause === '' ? 'WHERE' : `${clause} AND`} deleted_at IS NULL
           ORDER BY repository, version_key DESC, tag DESC`,
          ...values
        )
      )
    },
    async newestArtifacts(service) {
      const newest = `SELECT doc FROM artifacts WHERE service = ? AND deleted_at IS NULL
        ORDER BY placeholder, version_key DESC, repository, tag DESC LIMIT 1`
      const services = service === undefined ? distinctArtifacts('service') : [service]
      return services.flatMap((name) => recordsOf<ArtifactRecord>(database.all(newest, name)))
    },
    async deployableImages() {
      // A release's sort key begins with 1: see versionSortKey.
      const deployable = `SELECT 1 FROM artifacts
        WHERE repository = ? AND service IS NOT NULL AND deleted_at IS NULL AND version_key >= '1'
        ORDER BY version_key DESC LIMIT 1`
      return distinctArtifacts('repository').filter((repository) => database.get(deployable, repository) !== null)
    },
    async artifact(repository, tag) {
      return settle(transaction.artifact(repository, tag))
    },
    async image(manifestDigest) {
      return settle<ImageRecord | null>(transaction.image(manifestDigest))
    },
    async layer(digest) {
      const row = database.get('SELECT listing, doc FROM layers WHERE digest = ?', digest)
      const layer = recordOf<Omit<LayerRecord, 'listing'>>(row)
      return layer === null ? null : { ...layer, listing: row?.listing as Uint8Array }
    },
    async putLayer(layer, contents, extractions) {
      const { listing, ...doc } = layer
      database.transact(() => {
        for (const content of contents) {
          database.run('INSERT OR IGNORE INTO contents (digest, bytes) VALUES (?, ?)', content.digest, content.bytes)
        }
        for (const extraction of extractions) {
          database.run(
            'INSERT OR REPLACE INTO extractions (content, extractor, extractor_version, doc) VALUES (?, ?, ?, ?)',
            extraction.content,
            extraction.extractor,
            extraction.extractorVersion,
            JSON.stringify(extraction)
          )
        }
        database.run(
          'INSERT OR REPLACE INTO layers (digest, listing, doc) VALUES (?, ?, ?)',
          layer.digest,
          listing,
          JSON.stringify(doc)
        )
        for (const file of layer.files) {
          database.run(
            'INSERT OR REPLACE INTO layer_files (layer, path, content) VALUES (?, ?, ?)',
            layer.digest,
            file.path,
            file.content
          )
        }
      })
    },
    async extractions(contents) {
      return contents.flatMap((content) =>
        recordsOf<ExtractionRecord>(
          database.all('SELECT doc FROM extractions WHERE content = ? ORDER BY extractor, extractor_version', content)
        )
      )
    },
    async putLinkedFiles(files) {
      database.transact(() => {
        for (const { layer, path, content } of files) {
          database.run(
            'INSERT OR IGNORE INTO layer_files (layer, path, content) VALUES (?, ?, ?)',
            layer,
            path,
            content
          )
        }
      })
    },
    async layerFile(layer, path) {
      const row = database.get(
        'SELECT bytes FROM layer_files JOIN contents ON contents.digest = layer_files.content WHERE layer = ? AND path = ?',
        layer,
        path
      )
      return row === null ? null : (row.bytes as Uint8Array)
    },

    async leaseScanJob(owner, now, leaseMs) {
      // Left to itself, SQLite takes the index of all states and sorts every job that waits.
      return database.transact(() => {
        const row =
          database.get(
            `SELECT id, doc FROM scan_jobs INDEXED BY scan_jobs_lease
             WHERE state = 'running' AND lease_until <= ? ORDER BY lease_until, id LIMIT 1`,
            now
          ) ??
          database.get(
            `SELECT id, doc FROM scan_jobs INDEXED BY scan_jobs_due
             WHERE state = 'queued' AND due_at <= ? ORDER BY due_at, id LIMIT 1`,
            now
          )
        const job = jobOf(row)
        if (job === null) return null
        const leased: ScanJob = {
          ...job,
          state: 'running',
          attempts: job.attempts + 1,
          lapses: job.lapses + Number(job.state === 'running'),
          leaseOwner: owner,
          leaseUntil: now + leaseMs,
          token: job.token + 1
        }
        putJob(database, leased)
        return leased
      })
    },
    async renewScanJob(id, token, until) {
      return database.transact(() => {
        const job = settle(transaction.scanJob(id))
        if (job === null || job.state !== 'running' || job.token !== token) return false
        putJob(database, { ...job, leaseUntil: until })
        return true
      })
    },
    async nextScanJobDue() {
      const row = database.get(
        `SELECT (SELECT min(due_at) FROM scan_jobs INDEXED BY scan_jobs_due WHERE state = 'queued') AS due,
           (SELECT min(lease_until) FROM scan_jobs INDEXED BY scan_jobs_lease WHERE state = 'running') AS lease`
      )
      const times = [row?.due, row?.lease].filter((time) => typeof time === 'number')
      return times.length === 0 ? null : Math.min(...times)
    },
    async scanJobs(state, { offset, limit }): Promise<PageOf<ScanJob>> {
      const { clause, values } = where({ state })
      const rows = database.all(
        `SELECT id, doc FROM scan_jobs ${clause} ORDER BY id DESC LIMIT ? OFFSET ?`,
        ...values,
        limit,
        offset
      )
      return {
        rows: rows.map(jobOf).filter((job) => job !== null),
        total: count(database, `SELECT count(*) AS total FROM scan_jobs ${clause}`, ...values)
      }
    },
    async scanJob(id) {
      return settle(transaction.scanJob(id))
    },
    async countScanJobs() {
      const counts: Record<JobState, number> = { queued: 0, running: 0, done: 0, failed: 0, cancelled: 0 }
      for (const row of database.all('SELECT state, count(*) AS total FROM scan_jobs GROUP BY state')) {
        counts[row.state as JobState] = Number(row.total)
      }
      return counts
    },

    async takeLease(name, owner, now, leaseMs) {
      const { changes } = database.run(
        `INSERT INTO leases (name, owner, until) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET owner = ?2, until = ?3 WHERE owner = ?2 OR until <= ?4`,
        name,
        owner,
        now + leaseMs,
        now
      )
      return changes === 1
    },
    async releaseLease(name, owner) {
      database.run('DELETE FROM leases WHERE name = ? AND owner = ?', name, owner)
    },
    async leases(prefix, now) {
      return database
        .all('SELECT name, owner, until FROM leases WHERE until > ? ORDER BY name', now)
        .map((row) => ({ name: String(row.name), owner: String(row.owner), until: Number(row.until) }))
        .filter((lease) => lease.name.startsWith(prefix))
    },

    async setting(name) {
      return (database.get('SELECT value FROM settings WHERE name = ?', name)?.value as string | undefined) ?? null
    },
    async putSetting(name, value) {
      if (value === null) database.run('DELETE FROM settings WHERE name = ?', name)
      else database.run('INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)', name, value)
    }
  }
  return store

  function pageOfRows(sql: string, values: Value[], { offset, limit }: Page): Row[] {
    return database.all(sql, ...values, limit, offset)
  }

  function deploymentRow(row: Row): DeploymentRow | null {
    if (row.kind === 'request') return requestRow(row.key as string)
    const [found] = withDeployments(tasksOf([taskRow(row.key as string)].filter((task) => task !== null)))
    return found === undefined ? null : { kind: 'task', ...found }
  }

  function squashedRow(row: Row): SquashedRow | null {
    const found = deploymentRow(row)
    return found?.kind === 'task' ? { ...found, count: Number(row.count) } : found
  }

  function taskRow(key: string): Row | null {
    return database.get('SELECT doc, deployment_id FROM tasks WHERE key = ?', key)
  }
}
