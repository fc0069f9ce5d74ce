import { z } from 'zod'
import { isRepositoryName, isTagName } from '../../domain/image-reference.ts'
import { type App, answers, type HttpDeps } from '../app.ts'
import { Problem } from '../errors.ts'
import { requiredText } from '../parameters.ts'
import { artifactSchema } from './artifacts.ts'

const MAX_LENGTH = 255

export function adminRoutes(app: App, { artifacts, scan }: HttpDeps): void {
  app.post(
    '/admin/scan',
    {
      schema: {
        summary: 'Scan an image now',
        tags: ['admin'],
        querystring: z.object({
          repo: requiredText(MAX_LENGTH).refine(isRepositoryName, 'must be the name of a repository'),
          tag: requiredText(MAX_LENGTH).refine(isTagName, 'must be a tag')
        }),
        response: answers({
          200: z
            .object({ success: z.boolean(), artifact: artifactSchema.nullable(), error: z.string().nullable() })
            .meta({ id: 'ScanResult' })
        })
      }
    },
    async ({ query: { repo, tag }, signal }) => {
      const result = await scan.scanNow(repo, tag, signal)
      switch (result.outcome) {
        case 'scanned':
          return { success: true, artifact: await artifacts.shown(result.artifact), error: null }
        case 'not-found':
          throw new Problem('not-found', `The registry has no image ${repo}:${tag}`)
        case 'failed':
          return { success: false, artifact: null, error: result.error }
        case 'unavailable':
          throw new Problem('registry-unavailable', result.error)
      }
    }
  )
}
