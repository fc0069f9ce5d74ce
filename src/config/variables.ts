import { z } from 'zod'
import { createSecret } from './secret.ts'

/** What the documentation says of a variable. */
export interface Documentation {
  /** What an unset variable is read as; null where that is "none". */
  readonly default: string | null
  /** One sentence or two, in Markdown. */
  readonly meaning: string
}

const documentation = z.registry<Documentation>()

/** A variable that has a value always: the default is read by the same rules as what is set. */
function withDefault<T>(text: string, meaning: string, value: z.ZodType<T, string>) {
  return value.prefault(text).register(documentation, { default: text, meaning })
}

/** A variable that may be unset; it is null then. */
function optional<T>(meaning: string, value: z.ZodType<T, string>) {
  return value.nullable().prefault(null).register(documentation, { default: null, meaning })
}

// The messages say what a value must be, and repeat neither addresses nor tokens: they are, or hold, secrets.
const text = z.string().trim()
const secret = z.string().transform(createSecret)
// What can be sent in an Authorization header: visible ASCII.
const token = z
  .string()
  .regex(/^[\x21-\x7e]+$/, 'must be visible ASCII characters without spaces')
  .transform(createSecret)

const integer = (least: number, most: number) => {
  const range = `must be an integer from ${least} to ${most}`
  return text
    .regex(/^\d{1,15}$/, range)
    .transform(Number)
    .refine((value) => value >= least && value <= most, range)
}

const words = text.transform((list) => [
  ...new Set(
    list
      .split(',')
      .map((word) => word.trim())
      .filter((word) => word !== '')
  )
])

const webAddress = text.superRefine((address, context) => {
  const url = URL.parse(address)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    context.addIssue('must be an http:// or https:// address')
  } else if (url.username !== '' || url.password !== '') {
    context.addIssue('must not hold a user name or password')
  }
})

const STORE_FORMS = 'must be sqlite:<path>, sqlite::memory: or mongodb://<hosts>/<database>'

const store = text.transform((address, context) => {
  const path = /^sqlite:(.+)$/.exec(address)?.[1]
  if (path !== undefined) return { kind: 'sqlite' as const, path }
  context.addIssue(
    /^mongodb(?:\+srv)?:\/\//.test(address) ? 'MongoDB is not in this version: use sqlite:<path>' : STORE_FORMS
  )
  return z.NEVER
})

/** `account=name,…` in promotion order, as pairs. Several accounts may be one environment; an account is only one. */
const accounts = text.transform((list, context) => {
  const pairs: [account: string, name: string][] = []
  for (const item of list.split(',')) {
    const [account = '', name = '', ...more] = item.split('=').map((side) => side.trim())
    if (account === '' || name === '' || more.length > 0) {
      context.addIssue(`must be account=name,…, which "${item.trim()}" is not`)
    } else if (pairs.some(([known]) => known === account)) {
      context.addIssue(`names the account ${account} twice`)
    } else {
      pairs.push([account, name])
    }
  }
  return pairs
})

const platform = text
  .regex(/^[a-z0-9]+\/[a-z0-9]+(?:\/[a-z0-9]+)?$/, 'must be os/architecture or os/architecture/variant')
  .transform((written) => {
    const [os = '', architecture = '', variant] = written.split('/')
    return variant === undefined ? { os, architecture } : { os, architecture, variant }
  })

const SAMPLE_ACCOUNTS = [
  '555555555=snd',
  '777777777=infra-dev',
  '666666666=management',
  '333333333=dev',
  '444444444=test',
  '222222222=perf-test',
  '111111111=prod'
]
const SIDECARS = ['log_router', 'cwagent', 'ssl', 'aws-for-fluent-bit', 'cloudwatch-agent']
const DAY_SECONDS = 86_400
const GiB = 1024 ** 3
const MiB = 1024 ** 2

/**
 * Every environment variable that the service reads, in the order of the documentation. A setting is added here, and
 * given its place in `Config`; `npm run docs` writes it down.
 */
export const variables = {
  PORT: withDefault('5094', 'The port that the API listens on; `0` is any free one.', integer(0, 65_535)),
  HOST: withDefault(
    '127.0.0.1',
    'The address that the API listens on. `0.0.0.0` is every network that the machine is in: set `ADMIN_TOKEN` then.',
    text
  ),
  STORE_URL: withDefault(
    'sqlite:./data/cdp.db',
    'Where what is learned is kept: `sqlite:<path>`, from the working directory, or `sqlite::memory:`, which forgets all when it stops.',
    store
  ),
  ECS_EVENTS_QUEUE_URL: optional(
    'The SQS queue with what ECS and the deployment pipeline say. Unset: they are not listened to.',
    webAddress
  ),
  ECR_EVENTS_QUEUE_URL: optional(
    'The SQS queue with the pushes and deletions of images. Unset: they are not listened to.',
    webAddress
  ),
  AWS_REGION: withDefault(
    'eu-west-2',
    'The region of the queues.',
    text.regex(/^[a-z]{2}(?:-[a-z]+)+-\d+$/, 'must be the name of an AWS region')
  ),
  SQS_WAIT_SECONDS: withDefault('20', 'How long one receive waits for a message.', integer(0, 20)),
  SQS_VISIBILITY_SECONDS: withDefault(
    '60',
    'How long a received message is hidden from others, before it is handled or given back.',
    integer(1, 12 * 3600)
  ),
  REGISTRY_URL: withDefault(
    'http://localhost:5000',
    'The OCI registry that is scanned. An ECR host is signed in to with the AWS credentials.',
    webAddress
  ),
  REGISTRY_USERNAME: optional('For any other registry that asks; with `REGISTRY_PASSWORD`.', text),
  REGISTRY_PASSWORD: optional('See `REGISTRY_USERNAME`.', secret),
  REGISTRY_TIMEOUT_SECONDS: withDefault(
    '30',
    'How long the registry may send nothing while something is waited for.',
    integer(1, 3600)
  ),
  SCAN_CONCURRENCY: withDefault('2', 'How many images are scanned at the same time.', integer(1, 64)),
  SCAN_PLATFORM: optional(
    'Which image of an index is scanned, `os/architecture` or `os/architecture/variant`. Unset: `linux/amd64`, or the only one there is.',
    platform
  ),
  LAYER_MAX_BYTES: withDefault(
    `${16 * GiB}`,
    'Bytes of one layer once decompressed, skipped files included. Past it the layer is not read.',
    integer(MiB, 1024 * GiB)
  ),
  LAYER_MAX_ENTRIES: withDefault(
    '500000',
    'Files and directories in one layer. Past it the layer is not read.',
    integer(1, 100_000_000)
  ),
  LAYER_MAX_SECONDS: withDefault('900', 'How long reading one layer may take.', integer(1, DAY_SECONDS)),
  LAYER_MAX_NAME_BYTES: withDefault(
    '4096',
    'Bytes of one path in a layer. What has a longer one is left out.',
    integer(255, 65_536)
  ),
  FILE_MAX_BYTES: withDefault(
    `${32 * MiB}`,
    'Bytes of one file that is kept. A larger one is left out.',
    integer(1024, GiB)
  ),
  FILES_MAX_KEPT: withDefault(
    '50000',
    'Files that are kept of one layer. Those past it are left out.',
    integer(1, 10_000_000)
  ),
  FILES_MAX_KEPT_BYTES: withDefault(
    `${128 * MiB}`,
    'Bytes of all files that are kept of one layer; they are in memory until the layer is verified.',
    integer(MiB, 64 * GiB)
  ),
  ENVIRONMENTS: withDefault(
    SAMPLE_ACCOUNTS.join(','),
    'The AWS accounts and the environments that they are, `account=name,…`, in promotion order.',
    accounts
  ),
  ADMIN_ENVIRONMENTS: withDefault(
    'infra-dev,management',
    'The environments that only admins may deploy to. The default counts as far as `ENVIRONMENTS` has them.',
    words
  ),
  HIDDEN_ENVIRONMENTS: withDefault(
    'snd',
    'The environments that are known, and never offered to deploy to. The default counts as far as `ENVIRONMENTS` has them.',
    words
  ),
  CONTAINERS_TO_IGNORE: withDefault(
    SIDECARS.join(','),
    'The names of containers that are no service, also as a `_suffix` of a name.',
    words
  ),
  SERVICE_NAME_LABEL: withDefault(
    'defra.cdp.service.name',
    'The image label that names the service. `org.opencontainers.image.title` is understood where it is missing.',
    text
  ),
  GIT_URL_LABEL: withDefault(
    'defra.cdp.git.repo.url',
    "The image label with the address of the service's source. `org.opencontainers.image.source` is understood where it is missing.",
    text
  ),
  ADMIN_TOKEN: optional('The bearer token for the admin routes.', token),
  WRITE_TOKEN: optional('The bearer token for all other routes that change something. Unset: they are open.', token),
  SHUTDOWN_SECONDS: withDefault(
    '20',
    'How long what is in hand may take to end after SIGTERM, before it is given back.',
    integer(1, 300)
  ),
  LOG_LEVEL: withDefault(
    'info',
    '`trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`.',
    text.toLowerCase().pipe(
      z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
        error: 'must be trace, debug, info, warn, error, fatal or silent'
      })
    )
  )
}

/** What each variable is read as. */
export type Values = { readonly [Name in keyof typeof variables]: z.output<(typeof variables)[Name]> }

/** What is said of each variable, in the order of the documentation. */
export const documentedVariables: readonly (Documentation & { readonly name: string })[] = Object.entries(
  variables
).map(([name, schema]) => {
  const said = documentation.get(schema)
  if (said === undefined) throw new Error(`${name} is not documented`)
  return { name, ...said }
})
