import { versionSortKey } from '../../domain/version.ts'
import type {
  ArtifactRecord,
  DeploymentRecord,
  DeploymentStatusRecord,
  ImageRecord,
  LinkRecord,
  RequestRecord,
  RevisionRecord,
  RolloutRecord,
  ScanJob,
  TagRecord,
  TaskRecord,
  Transaction,
  Work
} from '../port.ts'
import type { Database, Row, Value } from './database.ts'

/** The record of a row: its `doc`. */
export function recordOf<T>(row: Row | null): T | null {
  return row === null ? null : (JSON.parse(String(row.doc)) as T)
}

/** A task's record: the id of its deployment is kept in its column, where one statement changes it for all tasks. */
export function taskOf(row: Row | null): TaskRecord | null {
  const task = recordOf<TaskRecord>(row)
  return task === null ? null : { ...task, deploymentId: (row?.deployment_id as string | null) ?? null }
}

const present = <T>(value: T | null): value is T => value !== null
/** The records of rows. */
export const recordsOf = <T>(rows: readonly Row[]): T[] => rows.map((row) => recordOf<T>(row)).filter(present)
/** The tasks of rows. */
export const tasksOf = (rows: readonly Row[]): TaskRecord[] => rows.map(taskOf).filter(present)

/** The name of a table's row to write: replaced where its key is there already. */
function put(database: Database, table: string, row: Record<string, Value>): void {
  const columns = Object.keys(row)
  const places = columns.map(() => '?')
  // An upsert by REPLACE: no row is referred to by another's foreign key.
  const sql = `INSERT OR REPLACE INTO ${table} (${columns.join(', ')}) VALUES (${places.join(', ')})`
  database.run(sql, ...Object.values(row))
}

/** Keeps the totals of lists: what is added to them, or taken away. */
function countListed(database: Database, environment: string, change: { tasks?: number; statuses?: number }): void {
  const { tasks = 0, statuses = 0 } = change
  if (tasks === 0 && statuses === 0) return
  database.run(
    `INSERT INTO list_totals (environment, tasks, statuses) VALUES (?1, ?2, ?3)
     ON CONFLICT (environment) DO UPDATE SET tasks = tasks + ?2, statuses = statuses + ?3`,
    environment,
    tasks,
    statuses
  )
}

/** Keeps the totals of the event log. */
function countLogged(database: Database, outcome: string, source: string | null, change: number): void {
  database.run(
    `INSERT INTO event_totals (outcome, source, total) VALUES (?1, ?2, ?3)
     ON CONFLICT (outcome, source) DO UPDATE SET total = total + ?3`,
    outcome,
    source ?? '',
    change
  )
}

const NEWEST_IN_DEPLOYMENT = 'ORDER BY created_at DESC, task DESC, key DESC LIMIT 1'

/** The transaction of SQLite: each call answers at once, so its generators never yield. */
export function createTransaction(database: Database): Transaction {
  function* get<T>(sql: string, ...values: Value[]): Work<T | null> {
    return recordOf<T>(database.get(sql, ...values))
  }
  function* list<T>(sql: string, ...values: Value[]): Work<T[]> {
    return recordsOf<T>(database.all(sql, ...values))
  }
  function* write(table: string, row: Record<string, Value>): Work<void> {
    put(database, table, row)
  }
  function* run(sql: string, ...values: Value[]): Work<void> {
    database.run(sql, ...values)
  }

  const waitingJob = (repository: string, tag: string) =>
    jobOf(
      database.get(
        `SELECT id, doc FROM scan_jobs WHERE repository = ? AND tag = ? AND state = 'queued'`,
        repository,
        tag
      )
    )

  return {
    *appendEvent(event) {
      // Not an INSERT that gives way to a known key: it would use up a number all the same, and the log would seem trimmed.
      if (database.run('UPDATE events SET duplicates = duplicates + 1 WHERE key = ?', event.key).changes > 0)
        return false
      database.run(
        `INSERT INTO events (key, channel, source, detail_type, account, event_id, time, sent_at, received_at, message_id,
           body, outcome, reason)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        event.key,
        event.channel,
        event.source,
        event.detailType,
        event.account,
        event.eventId,
        event.time,
        event.sentAt,
        event.receivedAt,
        event.messageId,
        event.body,
        event.outcome,
        event.reason
      )
      countLogged(database, event.outcome, event.source, 1)
      return true
    },

    *reviseEvent(sequence, outcome, reason) {
      const known = database.get('SELECT outcome, source FROM events WHERE sequence = ?', sequence)
      if (known === null) return
      database.run('UPDATE events SET outcome = ?, reason = ? WHERE sequence = ?', outcome, reason, sequence)
      if (known.outcome === outcome) return
      countLogged(database, String(known.outcome), known.source as string | null, -1)
      countLogged(database, outcome, known.source as string | null, 1)
    },

    *task(key) {
      return taskOf(database.get('SELECT doc, deployment_id FROM tasks WHERE key = ?', key))
    },
    *putTask(task) {
      const known = database.get('SELECT environment FROM tasks WHERE key = ? AND service IS NOT NULL', task.key)
      if (known !== null) countListed(database, String(known.environment), { tasks: -1 })
      if (task.service !== null) countListed(database, task.environment, { tasks: 1 })
      put(database, 'tasks', {
        key: task.key,
        slot: task.slot,
        slot_order: task.slotOrder,
        repository: task.repository,
        tag: task.tag,
        digest: task.digest,
        image_digest: task.imageDigest,
        environment: task.environment,
        service: task.service,
        deployment: task.deployment,
        deployment_id: task.deploymentId,
        status: task.status,
        one_off: Number(task.oneOff),
        created_at: task.createdAt,
        started_at: task.startedAt,
        stopped_at: task.stoppedAt,
        deployed_at: task.startedAt ?? task.createdAt,
        task: task.task,
        doc: JSON.stringify(task)
      })
    },
    *slotNeighbours(slot, slotOrder, key) {
      const neighbour = (comparison: string, order: string) =>
        taskOf(
          database.get(
            `SELECT doc, deployment_id FROM tasks WHERE slot = ? AND slot_order ${comparison} ? AND key <> ?
             ORDER BY slot_order ${order} LIMIT 1`,
            slot,
            slotOrder,
            key
          )
        )
      return { previous: neighbour('<', 'DESC'), next: neighbour('>', 'ASC') }
    },
    *tasksOfImage(repository, tag, digests) {
      const having = (column: string, value: string) =>
        database.all(
          `SELECT key, doc, deployment_id FROM tasks WHERE repository = ? AND ${column} = ?`,
          repository,
          value
        )
      const rows = [
        ...having('tag', tag),
        ...digests.flatMap((digest) => [...having('digest', digest), ...having('image_digest', digest)])
      ]
      const byKey = new Map(rows.map((row) => [row.key, row]))
      return tasksOf([...byKey.values()])
    },
    *liveTasks(environment, service) {
      return tasksOf(
        database.all(
          `SELECT doc, deployment_id FROM tasks
           WHERE environment = ? AND service = ? AND stopped_at IS NULL AND one_off = 0`,
          environment,
          service
        )
      )
    },
    *deploymentExtent(deployment) {
      const newest = taskOf(
        database.get(`SELECT doc, deployment_id FROM tasks WHERE deployment = ? ${NEWEST_IN_DEPLOYMENT}`, deployment)
      )
      if (newest === null) return null
      const first = database.get(
        `SELECT (SELECT min(created_at) FROM tasks WHERE deployment = ?1) AS begun_at,
           (SELECT min(started_at) FROM tasks WHERE deployment = ?1 AND started_at IS NOT NULL) AS started_at`,
        deployment
      )
      return { begunAt: Number(first?.begun_at), firstStartedAt: (first?.started_at as number | null) ?? null, newest }
    },
    *newestTaskInStatus(deployment, status) {
      return taskOf(
        database.get(
          `SELECT doc, deployment_id FROM tasks WHERE deployment = ? AND status = ?
           ORDER BY deployed_at DESC, task, key LIMIT 1`,
          deployment,
          status
        )
      )
    },

    deployment: (key) => get<DeploymentRecord>('SELECT doc FROM deployments WHERE key = ?', key),
    *putDeployment(deployment) {
      const known = database.get('SELECT deployment_id FROM deployments WHERE key = ?', deployment.key)
      put(database, 'deployments', {
        key: deployment.key,
        account: deployment.account,
        environment: deployment.environment,
        service: deployment.service,
        version_key: versionSortKey(deployment.version),
        ecs_deployment_id: deployment.ecsDeploymentId,
        ecs_group: deployment.group,
        task_definition: deployment.taskDefinition,
        made_id: deployment.madeId,
        portal_id: deployment.portalId,
        deployment_id: deployment.deploymentId,
        one_off: Number(deployment.oneOff),
        begun_at: deployment.begunAt,
        doc: JSON.stringify(deployment)
      })
      if (known?.deployment_id === deployment.deploymentId) return
      database.run('UPDATE tasks SET deployment_id = ? WHERE deployment = ?', deployment.deploymentId, deployment.key)
    },
    removeDeployment: (key) => run('DELETE FROM deployments WHERE key = ?', key),
    deploymentsOfEcsDeployment: (account, ecsDeploymentId) =>
      list<DeploymentRecord>(
        'SELECT doc FROM deployments WHERE ecs_deployment_id = ? AND account = ? ORDER BY begun_at, key',
        ecsDeploymentId,
        account
      ),
    deploymentsOfVersion: ({ environment, service, version }, { from, to }) =>
      list<DeploymentRecord>(
        `SELECT doc FROM deployments WHERE environment = ? AND service = ? AND version_key = ? AND one_off = 0
         AND begun_at BETWEEN ? AND ? ORDER BY begun_at, key`,
        environment,
        service,
        versionSortKey(version),
        from,
        to
      ),

    *deploymentStatus(deployment, status) {
      const row = database.get(
        `SELECT deployment, status, environment, count, newest_task, deployed_at FROM deployment_statuses
         WHERE deployment = ? AND status = ?`,
        deployment,
        status
      )
      if (row === null) return null
      return {
        deployment,
        status,
        environment: String(row.environment),
        count: Number(row.count),
        newestTask: String(row.newest_task),
        deployedAt: Number(row.deployed_at)
      } satisfies DeploymentStatusRecord
    },
    *putDeploymentStatus(record) {
      const { deployment, status, environment, count, newestTask, deployedAt } = record
      const known = database.get(
        'SELECT environment FROM deployment_statuses WHERE deployment = ? AND status = ?',
        deployment,
        status
      )
      if (known !== null) countListed(database, String(known.environment), { statuses: -1 })
      countListed(database, environment, { statuses: 1 })
      put(database, 'deployment_statuses', {
        deployment,
        status,
        environment,
        count,
        newest_task: newestTask,
        deployed_at: deployedAt
      })
    },
    *removeDeploymentStatus(deployment, status) {
      const removed = database.get(
        'DELETE FROM deployment_statuses WHERE deployment = ? AND status = ? RETURNING environment',
        deployment,
        status
      )
      if (removed !== null) countListed(database, String(removed.environment), { statuses: -1 })
    },

    request: (deploymentId) => get<RequestRecord>('SELECT doc FROM requests WHERE deployment_id = ?', deploymentId),
    putRequest: (request) =>
      write('requests', {
        deployment_id: request.deploymentId,
        environment: request.environment,
        service: request.service,
        requested_service: request.requestedService,
        version_key: versionSortKey(request.version),
        requested_at: request.requestedAt,
        started: Number(request.started),
        doc: JSON.stringify(request)
      }),
    requestsOfVersion: ({ environment, service, version }, { from, to }) =>
      list<RequestRecord>(
        `SELECT doc FROM requests WHERE environment = ? AND service = ? AND version_key = ?
         AND requested_at BETWEEN ? AND ? ORDER BY requested_at, deployment_id`,
        environment,
        service,
        versionSortKey(version),
        from,
        to
      ),
    requestsNaming: (requestedService) =>
      list<RequestRecord>(
        'SELECT doc FROM requests WHERE requested_service = ? ORDER BY deployment_id',
        requestedService
      ),

    link: (account, ecsDeploymentId) =>
      get<LinkRecord>('SELECT doc FROM links WHERE account = ? AND ecs_deployment_id = ?', account, ecsDeploymentId),
    putLink: (link) =>
      write('links', {
        account: link.account,
        ecs_deployment_id: link.ecsDeploymentId,
        portal_id: link.portalId,
        doc: JSON.stringify(link)
      }),
    linksOfPortalId: (portalId) =>
      list<LinkRecord>('SELECT doc FROM links WHERE portal_id = ? ORDER BY account, ecs_deployment_id', portalId),

    rollout: (account, ecsDeploymentId) =>
      get<RolloutRecord>(
        'SELECT doc FROM rollouts WHERE account = ? AND ecs_deployment_id = ?',
        account,
        ecsDeploymentId
      ),
    putRollout: (rollout) =>
      write('rollouts', {
        account: rollout.account,
        ecs_deployment_id: rollout.ecsDeploymentId,
        doc: JSON.stringify(rollout)
      }),
    putServiceAction: (action) =>
      write('service_actions', {
        key: action.key,
        account: action.account,
        ecs_service: action.ecsService,
        at: action.at,
        doc: JSON.stringify(action)
      }),

    putRunning: (running) =>
      write('running', { environment: running.environment, service: running.service, doc: JSON.stringify(running) }),
    removeRunning: (environment, service) =>
      run('DELETE FROM running WHERE environment = ? AND service = ?', environment, service),

    tag: (repository, tag) => get<TagRecord>('SELECT doc FROM tags WHERE repository = ? AND tag = ?', repository, tag),
    putTag: (record) => write('tags', { repository: record.repository, tag: record.tag, doc: JSON.stringify(record) }),
    artifact: (repository, tag) =>
      get<ArtifactRecord>('SELECT doc FROM artifacts WHERE repository = ? AND tag = ?', repository, tag),
    putArtifact: (artifact) =>
      write('artifacts', {
        repository: artifact.repository,
        tag: artifact.tag,
        version_key: versionSortKey(artifact.tag),
        service: artifact.service,
        placeholder: Number(artifact.placeholder),
        manifest_digest: artifact.manifestDigest,
        deleted_at: artifact.deletedAt,
        doc: JSON.stringify(artifact)
      }),
    newestArtifactOfImage: (repository) =>
      get<ArtifactRecord>(
        `SELECT doc FROM artifacts WHERE repository = ? AND service IS NOT NULL
         ORDER BY version_key DESC, tag DESC LIMIT 1`,
        repository
      ),
    *isServiceKnown(service) {
      return database.get('SELECT 1 FROM artifacts WHERE service = ? LIMIT 1', service) !== null
    },
    artifactsOfManifest: (manifestDigest) =>
      list<ArtifactRecord>(
        'SELECT doc FROM artifacts WHERE manifest_digest = ? ORDER BY repository, tag',
        manifestDigest
      ),
    revisionsOfDigest: (repository, digest) =>
      list<RevisionRecord>(
        'SELECT doc FROM revisions WHERE repository = ? AND digest = ? ORDER BY tag',
        repository,
        digest
      ),
    putRevision: (revision) =>
      write('revisions', {
        repository: revision.repository,
        digest: revision.digest,
        tag: revision.tag,
        doc: JSON.stringify(revision)
      }),
    image: (manifestDigest) => get<ImageRecord>('SELECT doc FROM images WHERE manifest_digest = ?', manifestDigest),
    putImage: (image) => write('images', { manifest_digest: image.manifestDigest, doc: JSON.stringify(image) }),

    *addScanJob({ cause, ...job }) {
      const known = waitingJob(job.repository, job.tag)
      // A waiting job has not asked the registry yet, so it will see what this one wants to see; it becomes due at once.
      const record: Omit<ScanJob, 'id'> = {
        ...job,
        causes: [...new Set([...(known?.causes ?? []), cause])],
        digestHint: job.digestHint ?? known?.digestHint ?? null,
        state: 'queued',
        dueAt: Math.min(known?.dueAt ?? job.requestedAt, job.requestedAt),
        attempts: 0,
        lapses: 0,
        leaseOwner: null,
        leaseUntil: null,
        token: known?.token ?? 0,
        errorCode: null,
        error: null,
        note: null,
        endedAt: null
      }
      if (known !== null) {
        putJob(database, { ...record, id: known.id })
        return known.id
      }
      return database.run(
        `INSERT INTO scan_jobs (repository, tag, state, due_at, lease_until, token, doc) VALUES (?, ?, ?, ?, ?, ?, ?)`,
        ...jobColumns(record)
      ).lastInsertRowid
    },
    *waitingScanJob(repository, tag) {
      return waitingJob(repository, tag)
    },
    *scanJob(id) {
      return jobOf(database.get('SELECT id, doc FROM scan_jobs WHERE id = ?', id))
    },
    *putScanJob(job) {
      putJob(database, job)
    },

    *clearDeployments() {
      for (const table of [
        'tasks',
        'deployments',
        'deployment_statuses',
        'requests',
        'links',
        'rollouts',
        'service_actions',
        'running',
        'list_totals'
      ]) {
        database.run(`DELETE FROM ${table}`)
      }
    }
  }
}

function jobColumns(job: Omit<ScanJob, 'id'>): Value[] {
  return [job.repository, job.tag, job.state, job.dueAt, job.leaseUntil, job.token, JSON.stringify(job)]
}

/** Writes a job over the one with its id. */
export function putJob(database: Database, { id, ...job }: ScanJob): void {
  database.run(
    `UPDATE scan_jobs SET repository = ?, tag = ?, state = ?, due_at = ?, lease_until = ?, token = ?, doc = ? WHERE id = ?`,
    ...jobColumns(job),
    id
  )
}

/** The job of a row with `id` and `doc`. */
export function jobOf(row: Row | null): ScanJob | null {
  const job = recordOf<Omit<ScanJob, 'id'>>(row)
  return job === null ? null : { ...job, id: Number(row?.id) }
}
