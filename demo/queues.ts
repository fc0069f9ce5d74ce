import type { FakeSqs } from '../test/fakes/sqs.ts'

/** The two queues, as the platform calls them; made, and named as commands name them. */
export async function makeQueues(sqs: FakeSqs): Promise<{ readonly ecs: string; readonly ecr: string }> {
  const make = async (name: string) => {
    await sqs.createQueue(name)
    return `${sqs.endpoint}/000000000000/${name}`
  }
  return { ecs: await make('ecs-deployments'), ecr: await make('ecr-push-events') }
}
