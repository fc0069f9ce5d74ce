import { abortable, type Clock } from './deadline.ts'
import { RegistryError, type RegistryErrorCode } from './errors.ts'

/**
 * `https://ACCOUNT.dkr.ecr.REGION.amazonaws.com`, `.com.cn` in China, `dkr.ecr-fips` for FIPS:
 * https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
 * The whole host, and nothing before or after it: a token must not reach `….amazonaws.com.example.com`.
 */
const ECR_HOST = /^[a-z0-9-]+\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$/
/** ECR's tokens hold for 12 hours; one is renewed this long before its end. */
const RENEW_BEFORE_MS = 15 * 60_000
/** For a token, with the SDK's own attempts. */
const FETCH_MS = 60_000
/** What ECR answers with is a header later on, so it must not be able to end one. */
const TOKEN = /^[A-Za-z0-9+/=_-]{1,16384}$/

/** Whether ECR's credentials may be sent to a registry: its exact host, over https, on the usual port. */
export function isEcrRegistry(registry: URL): boolean {
  return registry.protocol === 'https:' && registry.port === '' && ECR_HOST.test(registry.hostname)
}

/** The AWS region of an ECR registry's host. */
export function ecrRegion(registry: URL): string {
  const region = ECR_HOST.exec(registry.hostname)?.[1]
  if (region === undefined) throw new TypeError(`${registry.hostname} is no ECR host`)
  return region
}

/** `GetAuthorizationToken`'s result: base64 of `AWS:password`, and when it ends (milliseconds since the epoch). */
export interface EcrToken {
  readonly token: string
  readonly expiresAt: number
}

/** ECR's authorization token, kept until shortly before its end. */
export interface EcrTokens {
  current(signal: AbortSignal): Promise<string>
  /** A newer token than the refused one: the one at hand if it is newer, else a fresh one. */
  renewed(refused: string, signal: AbortSignal): Promise<string>
}

export function createEcrTokens(fetchToken: () => Promise<EcrToken>, clock: Clock): EcrTokens {
  let kept: EcrToken | null = null
  let asked: Promise<string> | null = null

  function fresh(signal: AbortSignal): Promise<string> {
    if (asked === null) {
      asked = fetchToken()
        .then((token) => {
          kept = token
          return token.token
        })
        .finally(() => {
          asked = null
        })
      // Everyone who waits may have given up by the time it fails.
      asked.catch(() => {})
    }
    return abortable(asked, signal)
  }

  return {
    current: async (signal) =>
      kept !== null && kept.expiresAt - RENEW_BEFORE_MS > clock.now() ? kept.token : fresh(signal),
    renewed: async (refused, signal) => (kept !== null && kept.token !== refused ? kept.token : fresh(signal))
  }
}

/**
 * Asks ECR for a token with the AWS credentials of the process, as the AWS SDK finds them; it tries again by itself.
 * https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
 * @throws RegistryError `unauthorized`, `throttled`, `unavailable`, or `invalid`.
 */
export async function fetchEcrToken(region: string): Promise<EcrToken> {
  // Loaded when it is needed: most processes that read images never sign in to ECR.
  const { ECRClient, GetAuthorizationTokenCommand } = await import('@aws-sdk/client-ecr')
  const client = new ECRClient({ region })
  try {
    const abortSignal = AbortSignal.timeout(FETCH_MS)
    const { authorizationData } = await client.send(new GetAuthorizationTokenCommand({}), { abortSignal })
    const [data] = authorizationData ?? []
    if (
      data?.authorizationToken === undefined ||
      data.expiresAt === undefined ||
      !TOKEN.test(data.authorizationToken)
    ) {
      throw new RegistryError('invalid', `ECR in ${region} answered without an authorization token`)
    }
    return { token: data.authorizationToken, expiresAt: data.expiresAt.getTime() }
  } catch (error) {
    if (error instanceof RegistryError) throw error
    const code = codeOf(error)
    const message = {
      unauthorized: `AWS gives no authorization token for ECR in ${region} to the credentials at hand`,
      throttled: `ECR in ${region} asks to slow down`,
      unavailable: `ECR in ${region} could not be asked for an authorization token`
    }[code]
    // Only the error's name: the SDK's message may quote the request, which is signed.
    throw new RegistryError(code, `${message} (${error instanceof Error ? error.name : 'unknown'})`)
  } finally {
    client.destroy()
  }
}

const UNAUTHORIZED =
  /^(?:AccessDenied|CredentialsProviderError|TokenProviderError|UnrecognizedClient|InvalidSignature|ExpiredToken|InvalidClientTokenId|IncompleteSignature|MissingAuthenticationToken)/
const THROTTLED = /^(?:Throttling|TooManyRequests|RequestLimitExceeded)/

function codeOf(error: unknown): Extract<RegistryErrorCode, 'unauthorized' | 'throttled' | 'unavailable'> {
  const name = error instanceof Error ? error.name : ''
  if (UNAUTHORIZED.test(name)) return 'unauthorized'
  if (THROTTLED.test(name)) return 'throttled'
  return 'unavailable'
}
