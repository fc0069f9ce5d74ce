import { afterEach, describe, expect, it } from 'vitest'
import { type ApiOptions, createTestApi, type TestApi } from '../../../test/api.ts'

let api: TestApi
const open = (options: ApiOptions = {}) => {
  api = createTestApi(options)
  return api
}
afterEach(() => api.close())

/** One event that is applied, one that is none of our business, one that can never succeed. */
async function story() {
  await api.task({ image: 'foo:1.0.0' })
  await api.send({ id: 'scan', 'detail-type': 'ECR Image Scan', source: 'aws.ecr', detail: {} }, 'ecr')
  await api.send('this is not JSON')
}

describe('GET /events', () => {
  it('is the event log, newest first, with what became of each', async () => {
    open()
    await story()
    const { body } = await api.get('/events')
    expect(body).toMatchObject({ page: 1, pageSize: 20, totalPages: 1 })
    expect(body.events).toMatchObject([
      {
        sequence: 3,
        outcome: 'rejected',
        source: null,
        reason: expect.stringContaining('JSON'),
        body: 'this is not JSON'
      },
      { sequence: 2, outcome: 'ignored', source: 'aws.ecr', channel: 'ecr', detailType: 'ECR Image Scan' },
      { sequence: 1, outcome: 'done', source: 'aws.ecs', account: '333333333', time: '2024-05-01T12:01:00.000Z' }
    ])
  })

  it('filters by outcome and source; an empty one is none', async () => {
    open()
    await story()
    const sequences = async (query: string) =>
      (await api.get(`/events?${query}`)).body.events.map(({ sequence }: { sequence: number }) => sequence)
    expect(await sequences('outcome=ignored')).toEqual([2])
    expect(await sequences('source=aws.ecs')).toEqual([1])
    expect(await sequences('source=aws.ecs&outcome=rejected')).toEqual([])
    expect(await sequences('source=&outcome=')).toEqual([3, 2, 1])
    expect(await api.get('/events?outcome=maybe')).toMatchObject({
      status: 400,
      body: { message: 'outcome must be one of done, ignored, rejected.' }
    })
  })

  it('has pages', async () => {
    open()
    await story()
    const { body } = await api.get('/events?size=2&page=2')
    expect(body).toMatchObject({ page: 2, pageSize: 2, totalPages: 2, events: [{ sequence: 1 }] })
  })

  it('gives the messages themselves to admins only', async () => {
    open({ adminToken: 'the-admin-token', writeToken: 'the-write-token' })
    await story()
    const bodies = async (authorization?: string) =>
      (await api.get('/events', authorization === undefined ? {} : { authorization })).body.events.map(
        (event: { body: unknown }) => event.body !== null
      )
    expect(await bodies()).toEqual([false, false, false])
    expect(await bodies('Bearer wrong')).toEqual([false, false, false])
    expect(await bodies('Bearer the-write-token')).toEqual([false, false, false])
    expect(await bodies('Bearer the-admin-token')).toEqual([true, true, true])
  })

  it('gives the messages to nobody where the service is reachable and no admin token is set', async () => {
    open({ host: '0.0.0.0' })
    await story()
    const { body } = await api.get('/events')
    expect(body.events).toMatchObject([{ body: null }, { body: null }, { body: null }])
  })
})
