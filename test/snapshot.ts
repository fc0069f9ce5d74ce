import type { Store } from '../src/store/port.ts'

const ALL = { offset: 0, limit: 1_000_000 }

/** Everything that the API could say of deployments and artifacts, for comparing two stores that should agree. */
export async function snapshot(store: Store, times: readonly number[] = []) {
  const deployments = await store.deploymentRows({}, ALL)
  const keys = new Set(deployments.rows.flatMap((row) => (row.kind === 'task' ? [row.deployment.key] : [])))
  return {
    deployments,
    squashed: await store.squashedRows({}, ALL),
    running: await store.running(),
    tasks: await Promise.all([...keys].sort().map((key) => store.tasksOfDeployment(key, 10_000))),
    runningAt: await Promise.all(
      times.map(async (at) => (await store.tasksLiveAt(at)).map(({ task }) => task.key).sort())
    ),
    artifacts: (await store.artifacts()).map(({ resolvedAt: _, createdAt: __, ...artifact }) => artifact)
  }
}
