import { z } from 'zod'
import { type Digest, isDigest } from '../domain/digest.ts'
import { RegistryError } from './errors.ts'

// Each schema holds the fields that are used and lets all others pass, as the specifications ask. The bounds keep a
// hostile document from becoming work without end; the documents themselves are bounded in bytes where they are read.
const MAX_MANIFESTS = 1_000
const MAX_LAYERS = 1_000
const MAX_PLATFORM_PART = 100
const MAX_LABELS = 1_000
const MAX_LABEL_NAME = 1_024
const MAX_LABEL_VALUE = 1024 * 1024
const MAX_ARCHIVE_IMAGES = 1_000
const MAX_TOKEN = 16 * 1024
const DEFAULT_TOKEN_SECONDS = 60
const MAX_PLACE = 100

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value), 'is no digest')
const mediaType = z.string().max(255)

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md */
const descriptor = z.object({
  mediaType,
  digest,
  size: z.int().nonnegative()
})

const platformPart = z.string().max(MAX_PLATFORM_PART)
const platform = z.object({
  os: platformPart,
  architecture: platformPart,
  variant: platformPart.optional()
})

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md */
export const imageManifest = z.object({
  mediaType: mediaType.optional(),
  config: descriptor,
  layers: z.array(descriptor).max(MAX_LAYERS)
})

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md */
export const imageIndex = z.object({
  mediaType: mediaType.optional(),
  manifests: z
    .array(
      descriptor.extend({
        platform: platform.nullish(),
        annotations: z.record(z.string(), z.string()).nullish()
      })
    )
    .max(MAX_MANIFESTS)
})
export type ImageIndex = z.infer<typeof imageIndex>

/** Enough of any manifest to tell what it is. */
export const anyManifest = z.looseObject({
  schemaVersion: z.unknown().optional(),
  mediaType: mediaType.optional()
})

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md; Docker's has the same fields. */
export const imageConfig = z.object({
  created: z.string().nullish(),
  os: platformPart.min(1),
  architecture: platformPart.min(1),
  variant: platformPart.nullish(),
  config: z
    .object({
      Labels: z
        .record(z.string().max(MAX_LABEL_NAME), z.string().max(MAX_LABEL_VALUE))
        .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `has more than ${MAX_LABELS} labels`)
        .nullish()
    })
    .nullish(),
  rootfs: z.object({ diff_ids: z.array(digest).max(MAX_LAYERS).nullish() })
})

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md */
export const layoutMarker = z.object({ imageLayoutVersion: z.string() })

/** `manifest.json` of `docker save`: https://github.com/moby/moby/blob/v28.0.0/image/spec/v1.2.md */
export const savedImages = z
  .array(
    z.object({
      Config: z.string(),
      RepoTags: z.array(z.string()).nullish(),
      Layers: z.array(z.string()).max(MAX_LAYERS)
    })
  )
  .max(MAX_ARCHIVE_IMAGES)

/** https://distribution.github.io/distribution/spec/api/#listing-repositories; some registries say `null` for none. */
export const catalogPage = z.object({ repositories: z.array(z.string()).nullish() })

/** https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags */
export const tagsPage = z.object({ tags: z.array(z.string()).nullish() })

// Visible ASCII only: the token becomes a header, and must not be able to end it.
const token = z
  .string()
  .max(MAX_TOKEN)
  .regex(/^[\x21-\x7e]+$/)

/** https://distribution.github.io/distribution/spec/auth/token/#token-response-fields */
export const tokenAnswer = z
  .object({
    token: token.optional(),
    access_token: token.optional(),
    expires_in: z.number().nonnegative().catch(DEFAULT_TOKEN_SECONDS)
  })
  .refine((answer) => answer.token !== undefined || answer.access_token !== undefined, 'has no token')

/** https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes; the code alone is used. */
export const errorAnswer = z.object({
  errors: z.array(z.object({ code: z.string().regex(/^[A-Z_]{1,64}$/) })).min(1)
})

/**
 * Parses a JSON document.
 * @param name what the document is, for the message: `the config of localhost:5000/service:1.2.3`.
 * @throws RegistryError `invalid`, with the first fault and its place.
 */
export function parseDocument<T>(schema: z.ZodType<T>, bytes: Uint8Array, name: string): T {
  let document: unknown
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    // Without its cause: a syntax error quotes the text, and a token server's text may hold a token.
    throw new RegistryError('invalid', `${name} is no JSON document in UTF-8`)
  }
  const parsed = schema.safeParse(document)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  // The place can hold a label's name, which is as long as its author likes.
  const place = (issue?.path ?? []).join('.').slice(0, MAX_PLACE)
  throw new RegistryError('invalid', `${name} is not valid${place && `, at ${place}`}: ${issue?.message ?? ''}`)
}
