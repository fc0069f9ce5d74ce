import { createEnvironments, type Environments } from '../domain/environment.ts'
import type { Secret } from './secret.ts'
import { type Values, variables } from './variables.ts'

export type { Secret } from './secret.ts'
export { documentedVariables } from './variables.ts'

/** The settings as the parts use them: deeply frozen, times in seconds, sizes in bytes. See docs/configuration.md. */
export interface Config {
  readonly listen: { readonly host: string; readonly port: number }
  readonly store: Values['STORE_URL']
  readonly aws: { readonly region: string }
  readonly queues: {
    /** The two queues' addresses; null turns that listener off. */
    readonly ecs: string | null
    readonly ecr: string | null
    readonly waitSeconds: number
    readonly visibilitySeconds: number
  }
  readonly registry: {
    readonly url: string
    /** For a registry that asks; an ECR host uses the AWS credentials instead. */
    readonly credentials: { readonly username: string; readonly password: Secret } | null
    readonly timeoutSeconds: number
  }
  readonly scan: {
    readonly concurrency: number
    /** Null: linux/amd64, or the only image of an index. */
    readonly platform: Values['SCAN_PLATFORM']
    readonly layerLimits: {
      readonly uncompressedBytes: number
      readonly entries: number
      readonly nameBytes: number
      readonly fileBytes: number
      readonly keptFiles: number
      readonly keptBytes: number
      readonly seconds: number
    }
    readonly labels: { readonly serviceName: string; readonly gitUrl: string }
  }
  readonly environments: Environments
  /** Names of environments, all of them known. */
  readonly adminEnvironments: readonly string[]
  readonly hiddenEnvironments: readonly string[]
  readonly containersToIgnore: readonly string[]
  readonly access: { readonly adminToken: Secret | null; readonly writeToken: Secret | null }
  readonly shutdownSeconds: number
  readonly logLevel: Values['LOG_LEVEL']
}

/** What is wrong with one variable; `message` goes on from its name, and holds no secret. */
export interface ConfigFault {
  readonly variable: string
  readonly message: string
}

/** The settings cannot be used. Its message is for the person who made them, and names every fault. */
export class ConfigError extends Error {
  readonly faults: readonly ConfigFault[]

  constructor(faults: readonly ConfigFault[]) {
    const lines = faults.map(({ variable, message }) => `  ${variable} ${message}`)
    super(`The settings cannot be used:\n${lines.join('\n')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/**
 * Reads the settings from environment variables. An empty variable counts as unset; other variables are not looked at.
 * @throws ConfigError with all faults at once.
 */
export function loadConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const { values, faults } = readVariables(environment)
  const all = [...faults, ...contradictions(values, environment)]
  if (all.length > 0) throw new ConfigError(all)
  // No fault: every variable has its value.
  return deepFreeze(shape(values as Values))
}

function isSet(environment: Readonly<Record<string, string | undefined>>, name: keyof Values): boolean {
  return environment[name] !== undefined && environment[name].trim() !== ''
}

/** Reads each variable by itself, so that one fault hides no other. */
function readVariables(environment: Readonly<Record<string, string | undefined>>) {
  const faults: ConfigFault[] = []
  const read = Object.entries(variables).flatMap(([name, schema]) => {
    const set = isSet(environment, name as keyof Values) ? environment[name] : undefined
    const result = schema.safeParse(set)
    if (result.success) return [[name, result.data]]
    faults.push(...result.error.issues.map(({ message }) => ({ variable: name, message })))
    return []
  })
  return { values: Object.fromEntries(read) as Partial<Values>, faults }
}

/** What is wrong between variables that are right each by itself. */
function contradictions(
  values: Partial<Values>,
  environment: Readonly<Record<string, string | undefined>>
): ConfigFault[] {
  const faults: ConfigFault[] = []
  const known = values.ENVIRONMENTS?.map(([, name]) => name)
  for (const variable of ['ADMIN_ENVIRONMENTS', 'HIDDEN_ENVIRONMENTS'] as const) {
    // The defaults are of the sample accounts; who names other accounts has said nothing wrong.
    if (known === undefined || !isSet(environment, variable)) continue
    for (const name of values[variable] ?? []) {
      if (!known.includes(name)) faults.push({ variable, message: `names ${name}, which ENVIRONMENTS does not` })
    }
  }
  const [username, password] = ['REGISTRY_USERNAME', 'REGISTRY_PASSWORD'] as const
  if (isSet(environment, username) !== isSet(environment, password)) {
    const missing = isSet(environment, username) ? password : username
    const other = missing === username ? password : username
    faults.push({ variable: missing, message: `must be set when ${other} is` })
  }
  return faults
}

function shape(values: Values): Config {
  const environments = createEnvironments(values.ENVIRONMENTS)
  const isKnown = (name: string) => environments.names.includes(name)
  return {
    listen: { host: values.HOST, port: values.PORT },
    store: values.STORE_URL,
    aws: { region: values.AWS_REGION },
    queues: {
      ecs: values.ECS_EVENTS_QUEUE_URL,
      ecr: values.ECR_EVENTS_QUEUE_URL,
      waitSeconds: values.SQS_WAIT_SECONDS,
      visibilitySeconds: values.SQS_VISIBILITY_SECONDS
    },
    registry: {
      url: values.REGISTRY_URL,
      credentials:
        values.REGISTRY_USERNAME === null || values.REGISTRY_PASSWORD === null
          ? null
          : { username: values.REGISTRY_USERNAME, password: values.REGISTRY_PASSWORD },
      timeoutSeconds: values.REGISTRY_TIMEOUT_SECONDS
    },
    scan: {
      concurrency: values.SCAN_CONCURRENCY,
      platform: values.SCAN_PLATFORM,
      layerLimits: {
        uncompressedBytes: values.LAYER_MAX_BYTES,
        entries: values.LAYER_MAX_ENTRIES,
        nameBytes: values.LAYER_MAX_NAME_BYTES,
        fileBytes: values.FILE_MAX_BYTES,
        keptFiles: values.FILES_MAX_KEPT,
        keptBytes: values.FILES_MAX_KEPT_BYTES,
        seconds: values.LAYER_MAX_SECONDS
      },
      labels: { serviceName: values.SERVICE_NAME_LABEL, gitUrl: values.GIT_URL_LABEL }
    },
    environments,
    adminEnvironments: values.ADMIN_ENVIRONMENTS.filter(isKnown),
    hiddenEnvironments: values.HIDDEN_ENVIRONMENTS.filter(isKnown),
    containersToIgnore: values.CONTAINERS_TO_IGNORE,
    access: { adminToken: values.ADMIN_TOKEN, writeToken: values.WRITE_TOKEN },
    shutdownSeconds: values.SHUTDOWN_SECONDS,
    logLevel: values.LOG_LEVEL
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
