import { z } from 'zod'
import { type App, answers, type HttpDeps } from '../app.ts'
import { nameInPath } from '../parameters.ts'

export function deployableRoutes(app: App, { artifacts }: HttpDeps): void {
  app.get(
    '/deployables',
    {
      schema: {
        summary: 'The images that can be deployed, by name',
        tags: ['deployables'],
        response: answers({ 200: z.array(z.string()) })
      }
    },
    () => artifacts.deployableImages()
  )

  app.get(
    '/deployables/:image',
    {
      schema: {
        summary: 'The versions of an image that can be deployed, newest first',
        tags: ['deployables'],
        params: z.object({ image: nameInPath }),
        response: answers({ 200: z.array(z.string()) })
      }
    },
    ({ params }) => artifacts.deployableTags(params.image)
  )

  app.get(
    '/environments',
    {
      schema: {
        summary: 'The environments that one may deploy to, in promotion order',
        tags: ['deployables'],
        response: answers({ 200: z.array(z.string()) })
      }
    },
    () => artifacts.deployTargets()
  )
}
