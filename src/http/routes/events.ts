import { z } from 'zod'
import { pageWindow, totalPages } from '../../domain/page.ts'
import { EVENT_OUTCOMES, type LoggedEvent } from '../../store/port.ts'
import { type App, answers, type HttpDeps } from '../app.ts'
import { filterParameter, pageParameters } from '../parameters.ts'

const eventSchema = z
  .object({
    sequence: z.int(),
    channel: z.enum(['ecs', 'ecr', 'portal']),
    source: z.string().nullable(),
    detailType: z.string().nullable(),
    account: z.string().nullable(),
    eventId: z.string().nullable(),
    messageId: z.string(),
    time: z.iso.datetime(),
    sentAt: z.iso.datetime(),
    receivedAt: z.iso.datetime(),
    outcome: z.enum(EVENT_OUTCOMES),
    reason: z.string().nullable(),
    duplicates: z.int(),
    body: z.string().nullable().meta({ description: 'The message as it came; null for those who are not admins.' })
  })
  .meta({ id: 'Event' })

function eventView(event: LoggedEvent, isAdmin: boolean) {
  const iso = (at: number) => new Date(at).toISOString()
  return {
    sequence: event.sequence,
    channel: event.channel,
    source: event.source,
    detailType: event.detailType,
    account: event.account,
    eventId: event.eventId,
    messageId: event.messageId,
    time: iso(event.time),
    sentAt: iso(event.sentAt),
    receivedAt: iso(event.receivedAt),
    outcome: event.outcome,
    reason: event.reason,
    duplicates: event.duplicates,
    body: isAdmin ? event.body : null
  }
}

export function eventRoutes(app: App, { access, store }: HttpDeps): void {
  app.get(
    '/events',
    {
      schema: {
        summary: 'The event log, newest first',
        tags: ['events'],
        // Anybody may look; an admin's token shows more.
        security: [{}, { bearer: [] }],
        querystring: z.object({
          outcome: z
            .union([z.enum(EVENT_OUTCOMES), z.literal('')], `must be one of ${EVENT_OUTCOMES.join(', ')}`)
            .transform((outcome) => outcome || undefined)
            .optional()
            .meta({ description: 'Only those with this outcome.' }),
          source: filterParameter('Only those of this source, such as aws.ecs.'),
          ...pageParameters
        }),
        response: answers({
          200: z.object({
            events: z.array(eventSchema),
            page: z.int().min(1),
            pageSize: z.int().min(1),
            totalPages: z.int().min(1)
          })
        })
      }
    },
    async ({ query: { outcome, source, page, size }, headers }) => {
      const wanted = { page, size, offset: 0 }
      const filter = { ...(outcome === undefined ? {} : { outcome }), ...(source === undefined ? {} : { source }) }
      const { rows, total } = await store.events(filter, pageWindow(wanted))
      const isAdmin = access.admit('admin', headers.authorization).admitted
      return {
        events: rows.map((event) => eventView(event, isAdmin)),
        page,
        pageSize: size,
        totalPages: totalPages(total, wanted)
      }
    }
  )
}
