import { z } from 'zod'
import { type App, answers, type HttpDeps, textAnswer } from '../app.ts'
import { Problem } from '../errors.ts'

const aliveSchema = z.object({ status: z.literal('ok') })

const readySchema = z.object({
  status: z.literal('ok'),
  checks: z.array(z.object({ name: z.string(), ok: z.boolean(), reason: z.string().nullable() }))
})

/** Whoever watches the service must not be told to come back later, however much others ask. */
const UNLIMITED = { rateLimit: false } as const

export function healthRoutes(app: App, { metrics, readiness }: HttpDeps): void {
  for (const path of ['/health', '/health/live']) {
    app.get(
      path,
      {
        config: UNLIMITED,
        schema: { summary: 'Whether the service is alive', tags: ['health'], response: answers({ 200: aliveSchema }) }
      },
      async () => ({ status: 'ok' as const })
    )
  }

  app.get(
    '/health/ready',
    {
      config: UNLIMITED,
      schema: {
        summary: 'Whether the service can do its work: 503 with what it lacks where it cannot',
        tags: ['health'],
        response: answers({ 200: readySchema })
      }
    },
    async () => {
      const checks = (await readiness()).map(({ name, ok, reason }) => ({ name, ok, reason: reason ?? null }))
      const failing = checks.filter(({ ok }) => !ok)
      if (failing.length === 0) return { status: 'ok' as const, checks }
      const sentence = failing.map(({ name, reason }) => (reason === null ? name : `${name}: ${reason}`)).join('; ')
      throw new Problem('not-ready', sentence, { checks })
    }
  )

  app.get(
    '/metrics',
    {
      config: UNLIMITED,
      schema: {
        summary: 'Figures for Prometheus',
        tags: ['health'],
        response: answers({ 200: textAnswer('The text format of Prometheus.', 'text/plain') })
      }
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics())
  )
}
