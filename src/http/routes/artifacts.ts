import { z } from 'zod'
import { isRepositoryName } from '../../domain/image-reference.ts'
import { SCAN_STATES } from '../../store/port.ts'
import { type App, answers, type HttpDeps } from '../app.ts'
import { Problem } from '../errors.ts'
import { nameInPath, requiredText } from '../parameters.ts'
import { teamSchema } from './services.ts'

const MAX_REPOSITORY_LENGTH = 255
const MAX_URL_LENGTH = 2_048

export const artifactSchema = z
  .object({
    created: z.iso.datetime(),
    repo: z.string(),
    tag: z.string(),
    sha256: z.string(),
    githubUrl: z.string().nullable(),
    serviceName: z.string().nullable(),
    scannerVersion: z.int(),
    teams: z.array(teamSchema),
    files: z.array(z.object({ fileName: z.string(), path: z.string(), layerSha256: z.string() })).nullable(),
    semVer: z.int().nullable(),
    digest: z.string().nullable(),
    scan: z.enum(SCAN_STATES),
    scanError: z.string().nullable(),
    deletedAt: z.iso.datetime().nullable()
  })
  .meta({ id: 'Artifact' })

export function artifactRoutes(app: App, { artifacts, events }: HttpDeps): void {
  app.get(
    '/artifacts',
    {
      schema: {
        summary: 'All artifacts, by name, then newest version first; without their files',
        tags: ['artifacts'],
        response: answers({ 200: z.array(artifactSchema) })
      }
    },
    () => artifacts.artifacts()
  )

  app.get(
    '/artifacts/:image',
    {
      schema: {
        summary: 'The artifacts of one image, newest version first; without their files',
        tags: ['artifacts'],
        params: z.object({ image: nameInPath }),
        response: answers({ 200: z.array(artifactSchema) })
      }
    },
    ({ params }) => artifacts.artifacts(params.image)
  )

  app.get(
    '/artifacts/:image/:tag',
    {
      schema: {
        summary: 'One artifact with its files',
        tags: ['artifacts'],
        params: z.object({ image: nameInPath, tag: nameInPath }),
        response: answers({ 200: artifactSchema })
      }
    },
    async ({ params: { image, tag } }) => {
      const artifact = await artifacts.artifact(image, tag)
      if (artifact === null) throw new Problem('not-found', `${image}:${tag} was not found`)
      return artifact
    }
  )

  app.post(
    '/artifacts/placeholder',
    {
      schema: {
        summary: 'Make a service known before its first image',
        tags: ['artifacts'],
        querystring: z.object({
          service: requiredText(MAX_REPOSITORY_LENGTH).refine(
            isRepositoryName,
            'must be a name that an image can have'
          ),
          githubUrl: z
            .string('must be given once')
            .max(MAX_URL_LENGTH, `must have at most ${MAX_URL_LENGTH} characters`)
            .optional()
        }),
        response: answers({ 200: artifactSchema })
      }
    },
    async ({ query: { service, githubUrl } }) => {
      const made = await events.submitPlaceholder({ service, gitUrl: githubUrl || null })
      return artifacts.shown(made)
    }
  )
}
