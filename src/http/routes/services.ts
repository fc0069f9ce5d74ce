import { z } from 'zod'
import { type App, answers, type HttpDeps } from '../app.ts'
import { Problem } from '../errors.ts'
import { nameInPath } from '../parameters.ts'

export const teamSchema = z
  .object({ github: z.string(), teamId: z.string().nullable(), name: z.string().nullable() })
  .meta({ id: 'Team' })

const serviceSchema = z
  .object({
    serviceName: z.string(),
    githubUrl: z.string().nullable(),
    imageName: z.string(),
    teams: z.array(teamSchema)
  })
  .meta({ id: 'Service' })

export function serviceRoutes(app: App, { artifacts }: HttpDeps): void {
  app.get(
    '/services',
    {
      schema: {
        summary: 'All services, by name',
        tags: ['services'],
        response: answers({ 200: z.array(serviceSchema) })
      }
    },
    () => artifacts.services()
  )

  app.get(
    '/services/:service',
    {
      schema: {
        summary: 'One service',
        tags: ['services'],
        params: z.object({ service: nameInPath }),
        response: answers({ 200: serviceSchema })
      }
    },
    async ({ params }) => {
      const service = await artifacts.service(params.service)
      if (service === null) throw new Problem('not-found', `${params.service} was not found`)
      return service
    }
  )
}
