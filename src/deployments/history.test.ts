import { describe, expect, it } from 'vitest'
import type { RequestRecord, ServiceActionRecord } from '../store/port.ts'
import { type DeploymentFacts, HISTORY_SHOWN, historyOf } from './history.ts'

const NOTHING: DeploymentFacts = { request: null, rollouts: [], actions: [], tasks: [] }

const action = (at: number): ServiceActionRecord => ({
  key: `action-${at}`,
  account: '1',
  ecsService: 'foo',
  eventName: 'SERVICE_STEADY_STATE',
  eventType: 'INFO',
  reason: null,
  at
})

const request: RequestRecord = {
  deploymentId: 'portal-1',
  environment: 'dev',
  requestedService: 'foo',
  service: 'foo',
  version: '1.0.0',
  user: null,
  userId: null,
  instanceCount: null,
  requestedAt: 5,
  started: true
}

describe('the history of a deployment', () => {
  it('of one that nothing is known of is empty', () => expect(historyOf(NOTHING)).toEqual([]))

  it('keeps the newest of more than it shows', () => {
    const actions = Array.from({ length: HISTORY_SHOWN + 5 }, (_, index) => action(index))
    const history = historyOf({ ...NOTHING, actions })
    expect(history).toHaveLength(HISTORY_SHOWN)
    expect(history[0]?.at).toBe('1970-01-01T00:00:00.005Z')
  })

  it('tells of equal times first what caused the other', () => {
    const history = historyOf({ ...NOTHING, request, actions: [action(5), action(4)] })
    expect(history.map(({ event }) => event)).toEqual(['SERVICE_STEADY_STATE', 'REQUESTED', 'SERVICE_STEADY_STATE'])
  })
})
