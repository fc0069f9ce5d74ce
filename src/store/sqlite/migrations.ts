/**
 * The schema, one step per version: `PRAGMA user_version` counts the steps that a file has taken. A step that has been
 * released is never changed; a new one is added at the end.
 *
 * Each record lies whole in `doc`, as JSON; the columns beside it are what queries select and sort by.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL,
    source TEXT,
    detail_type TEXT,
    account TEXT,
    event_id TEXT,
    time INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    body TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    duplicates INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX events_outcome ON events (outcome, source);
  CREATE INDEX events_source ON events (source);

  CREATE TABLE tasks (
    key TEXT PRIMARY KEY,
    slot TEXT NOT NULL,
    slot_order TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag TEXT,
    digest TEXT,
    image_digest TEXT,
    environment TEXT NOT NULL,
    service TEXT,
    deployment TEXT,
    deployment_id TEXT,
    status TEXT NOT NULL,
    one_off INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    stopped_at INTEGER,
    deployed_at INTEGER NOT NULL,
    task TEXT NOT NULL,
    doc TEXT NOT NULL
  ) STRICT;
  CREATE INDEX tasks_slot ON tasks (slot, slot_order);
  CREATE INDEX tasks_tag ON tasks (repository, tag);
  CREATE INDEX tasks_digest ON tasks (repository, digest) WHERE digest IS NOT NULL;
  CREATE INDEX tasks_image_digest ON tasks (repository, image_digest) WHERE image_digest IS NOT NULL;
  CREATE INDEX tasks_live ON tasks (environment, service)
    WHERE stopped_at IS NULL AND one_off = 0 AND service IS NOT NULL;
  CREATE INDEX tasks_stopped ON tasks (stopped_at, created_at) WHERE one_off = 0 AND service IS NOT NULL;
  CREATE INDEX tasks_deployment_created ON tasks (deployment, created_at, task, key);
  CREATE INDEX tasks_deployment_started ON tasks (deployment, started_at) WHERE started_at IS NOT NULL;
  CREATE INDEX tasks_deployment_status ON tasks (deployment, status, deployed_at DESC, task, key);
  CREATE INDEX tasks_deployment_newest ON tasks (deployment, deployed_at DESC, task, key);
  CREATE INDEX tasks_newest ON tasks (deployed_at DESC, environment, service, deployment_id, task, key)
    WHERE service IS NOT NULL;
  CREATE INDEX tasks_environment_newest ON tasks (environment, deployed_at DESC, service, deployment_id, task, key)
    WHERE service IS NOT NULL;

  CREATE TABLE deployments (
    key TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    version_key TEXT NOT NULL,
    ecs_deployment_id TEXT,
    ecs_group TEXT,
    task_definition TEXT,
    made_id TEXT NOT NULL,
    portal_id TEXT,
    deployment_id TEXT NOT NULL,
    one_off INTEGER NOT NULL,
    begun_at INTEGER NOT NULL,
    doc TEXT NOT NULL
  ) STRICT;
  CREATE INDEX deployments_portal ON deployments (portal_id, begun_at) WHERE portal_id IS NOT NULL;
  CREATE INDEX deployments_ecs ON deployments (ecs_deployment_id, begun_at) WHERE ecs_deployment_id IS NOT NULL;
  CREATE INDEX deployments_definition ON deployments (task_definition, begun_at) WHERE task_definition IS NOT NULL;
  CREATE INDEX deployments_made ON deployments (made_id, begun_at);
  CREATE INDEX deployments_version ON deployments (environment, service, version_key, begun_at) WHERE one_off = 0;
  CREATE INDEX deployments_group ON deployments (account, ecs_group, begun_at);

  CREATE TABLE deployment_statuses (
    deployment TEXT NOT NULL,
    status TEXT NOT NULL,
    environment TEXT NOT NULL,
    count INTEGER NOT NULL,
    newest_task TEXT NOT NULL,
    deployed_at INTEGER NOT NULL,
    PRIMARY KEY (deployment, status)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX deployment_statuses_newest ON deployment_statuses (deployed_at DESC);
  CREATE INDEX deployment_statuses_environment ON deployment_statuses (environment, deployed_at DESC);

  CREATE TABLE requests (
    deployment_id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    requested_service TEXT NOT NULL,
    version_key TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    started INTEGER NOT NULL,
    doc TEXT NOT NULL
  ) STRICT;
  CREATE INDEX requests_version ON requests (environment, service, version_key, requested_at);
  CREATE INDEX requests_name ON requests (requested_service, deployment_id);
  CREATE INDEX requests_waiting ON requests (requested_at DESC, environment, service, deployment_id) WHERE started = 0;
  CREATE INDEX requests_waiting_environment ON requests (environment, requested_at DESC, service, deployment_id)
    WHERE started = 0;

  CREATE TABLE links (
    account TEXT NOT NULL,
    ecs_deployment_id TEXT NOT NULL,
    portal_id TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (account, ecs_deployment_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX links_portal ON links (portal_id);

  CREATE TABLE rollouts (
    account TEXT NOT NULL,
    ecs_deployment_id TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (account, ecs_deployment_id)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE service_actions (
    key TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    ecs_service TEXT NOT NULL,
    at INTEGER NOT NULL,
    doc TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX service_actions_service ON service_actions (account, ecs_service, at);

  CREATE TABLE running (
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (service, environment)
  ) STRICT;

  CREATE TABLE tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (repository, tag)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE artifacts (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    version_key TEXT NOT NULL,
    service TEXT,
    placeholder INTEGER NOT NULL,
    manifest_digest TEXT,
    deleted_at INTEGER,
    doc TEXT NOT NULL,
    PRIMARY KEY (repository, tag)
  ) STRICT;
  CREATE INDEX artifacts_version ON artifacts (repository, version_key DESC, tag DESC);
  CREATE INDEX artifacts_service ON artifacts (service, placeholder, version_key DESC, repository, tag DESC);
  CREATE INDEX artifacts_manifest ON artifacts (manifest_digest) WHERE manifest_digest IS NOT NULL;

  CREATE TABLE revisions (
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    tag TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (repository, digest, tag)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE images (
    manifest_digest TEXT PRIMARY KEY,
    doc TEXT NOT NULL
  ) STRICT;

  CREATE TABLE layers (
    digest TEXT PRIMARY KEY,
    listing BLOB NOT NULL,
    doc TEXT NOT NULL
  ) STRICT;
  CREATE TABLE layer_files (
    layer TEXT NOT NULL,
    path TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (layer, path)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE contents (
    digest TEXT PRIMARY KEY,
    bytes BLOB NOT NULL
  ) STRICT;
  CREATE TABLE extractions (
    content TEXT NOT NULL,
    extractor TEXT NOT NULL,
    extractor_version INTEGER NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (content, extractor, extractor_version)
  ) STRICT;

  CREATE TABLE scan_jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    state TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    lease_until INTEGER,
    token INTEGER NOT NULL,
    doc TEXT NOT NULL
  ) STRICT;
  CREATE INDEX scan_jobs_due ON scan_jobs (due_at, id) WHERE state = 'queued';
  CREATE INDEX scan_jobs_lease ON scan_jobs (lease_until, id) WHERE state = 'running';
  CREATE UNIQUE INDEX scan_jobs_waiting ON scan_jobs (repository, tag) WHERE state = 'queued';
  CREATE INDEX scan_jobs_state ON scan_jobs (state, id);

  CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    until INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  // Lists say how many pages they have: counted as rows come and go, so that this does not read the history each time.
  `
  CREATE TABLE list_totals (
    environment TEXT PRIMARY KEY,
    tasks INTEGER NOT NULL,
    statuses INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO list_totals (environment, tasks, statuses)
    SELECT environment, sum(tasks), sum(statuses) FROM (
      SELECT environment, 1 AS tasks, 0 AS statuses FROM tasks WHERE service IS NOT NULL
      UNION ALL
      SELECT environment, 0, 1 FROM deployment_statuses
    ) GROUP BY environment;

  CREATE TABLE event_totals (
    outcome TEXT NOT NULL,
    source TEXT NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (outcome, source)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO event_totals (outcome, source, total)
    SELECT outcome, coalesce(source, ''), count(*) FROM events GROUP BY outcome, coalesce(source, '');
  CREATE INDEX events_outcome_newest ON events (outcome);
  `
]
