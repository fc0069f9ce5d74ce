/** What the demo tells in the end: addresses, and commands that work as they are printed. */
export interface Places {
  readonly api: string
  readonly registryPort: number
  readonly sqs: string
  readonly queues: { readonly ecs: string; readonly ecr: string }
  readonly logFile: string
  readonly store: string
  /** Milliseconds. */
  readonly now: number
}

const TWO_DAYS = 2 * 86_400_000

export function whereToLook({ api, registryPort, sqs, queues, logFile, store, now }: Places): string {
  const registry = `localhost:${registryPort}`
  const then = `${new Date(now - TWO_DAYS).toISOString().slice(0, 16)}:00Z`
  const push = JSON.stringify({
    detail: { result: 'SUCCESS', 'action-type': 'PUSH', 'image-tag': '0.1.0', 'repository-name': 'cdp-portal-frontend' }
  })
  const task = JSON.stringify({
    'detail-type': 'ECS Task State Change',
    account: '222222222',
    detail: {
      taskArn: 'arn:aws:ecs:eu-west-2:222222222:task/perf-test/by-hand',
      lastStatus: 'RUNNING',
      containers: [{ name: 'cdp-portal-frontend', image: 'cdp-portal-frontend:0.1.0' }]
    }
  })
  const send = (queue: string, body: string) =>
    `aws sqs send-message --region eu-west-2 --endpoint-url ${sqs} \\\n    --queue-url ${queue} \\\n    --message-body '${body}'`
  return `
Where to look
  ${api}/whats-running-where          what runs where
  ${api}/whats-running-where?at=${then}   … two days ago
  ${api}/deployments                  every task, and what was asked for
  ${api}/services                     the services
  ${api}/artifacts                    the images; one did not read to its end
  ${api}/events?outcome=rejected      what could not be understood, and why
  ${api}/swagger                      the whole API
  ${logFile}      the service's log
  ${store}       the store: it is for reading while the service runs

What to try
  curl -s ${api}/whats-running-where/cdp-portal-frontend
  curl -s ${api}/artifacts/cdp-portal-frontend/0.9.1

  A push, with the tools of the trade:

  skopeo copy --src-tls-verify=false --dest-tls-verify=false \\
    docker://${registry}/cdp-portal-frontend:0.9.1 docker://${registry}/cdp-portal-frontend:0.1.0
  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
  ${send(queues.ecr, push)}
  ${send(queues.ecs, task)}

  … or with our own:

  export AWS_ENDPOINT_URL_SQS=${sqs} REGISTRY_URL=http://${registry}
  export ECR_EVENTS_QUEUE_URL=${queues.ecr}
  export ECS_EVENTS_QUEUE_URL=${queues.ecs}
  npm exec -- cdp fake-push cdp-portal-frontend 0.1.0
  npm exec -- cdp fake-deployments cdp-portal-frontend 0.1.0
  npm exec -- cdp scan ${registry}/cdp-portal-frontend:0.1.0
`
}
