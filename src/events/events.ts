/** What others may use of the events: the inbox, the queues' listeners, replaying the log. */
export type { QueueMessage } from './envelope.ts'
export { createInbox, type Inbox, type MessageOutcome } from './inbox.ts'
export { deploymentRequested, placeholderRequested } from './portal-events.ts'
export { createQueueListener, type QueueListener } from './queue-listener.ts'
export type { ReadingOptions } from './read-event.ts'
export { REPLAY_SETTING, ReplayRefused, replay, SERVING_LEASE } from './replay.ts'
