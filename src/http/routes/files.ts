import { z } from 'zod'
import { type App, answers, type HttpDeps } from '../app.ts'
import { Problem } from '../errors.ts'
import { nameInPath, requiredText } from '../parameters.ts'

const JSON_TYPE = 'application/json; charset=utf-8'
/** A browser shows it and runs nothing of it; XML, HTML and SVG it would run. */
const TEXT_TYPE = 'text/plain; charset=utf-8'
const MAX_PATH_LENGTH = 4_096

/** A file's bytes go out as they are, in whatever encoding they may be. */
const contentSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array).meta({ type: 'string' })

/** The type that a file's content is served with, by its name. */
export function contentTypeOf(path: string): string {
  return /\.json$/i.test(path) ? JSON_TYPE : TEXT_TYPE
}

export function fileRoutes(app: App, { artifacts }: HttpDeps): void {
  app.get(
    '/files/:layerSha256',
    {
      schema: {
        summary: 'The content of a file as it is in a layer',
        tags: ['artifacts'],
        params: z.object({ layerSha256: nameInPath }),
        querystring: z.object({ path: requiredText(MAX_PATH_LENGTH) }),
        response: answers({
          200: {
            description: 'The content, as it is.',
            content: { 'application/json': { schema: z.unknown() }, 'text/plain': { schema: contentSchema } }
          }
        })
      }
    },
    async ({ params: { layerSha256 }, query: { path } }, reply) => {
      const content = await artifacts.file(layerSha256, path)
      if (content === null) throw new Problem('not-found', `${path} of layer ${layerSha256} was not found`)
      // Somebody else's content comes from our origin: were it ever taken for a page, it could do nothing.
      return reply
        .headers({
          'content-type': contentTypeOf(path),
          'x-content-type-options': 'nosniff',
          'content-security-policy': "default-src 'none'; sandbox"
        })
        .send(Buffer.from(content.buffer, content.byteOffset, content.byteLength))
    }
  )
}
