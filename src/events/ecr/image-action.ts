import { recordDelete, recordPush } from '../../artifacts/artifacts.ts'
import { isRepositoryName, isTagName } from '../../domain/image-reference.ts'
import { isReleaseTag } from '../../domain/version.ts'
import { type Event, faults } from '../envelope.ts'
import { done, ignored, type Reading, rejected } from '../reading.ts'
import { imageActionSchema } from './schema.ts'

const MS_OF_A_SECOND = 999

/**
 * Reads an ECR Image Action. A push of a release tag adds a scan job; a delete of a tag marks its artifact deleted.
 *
 * ECR gives times to the second: such a time stands for the end of its second, so that a delete comes after a push
 * whose own time is known more exactly.
 */
export function readImageAction(event: Event): Reading {
  const parsed = imageActionSchema.safeParse(event.detail)
  if (!parsed.success) return rejected(`not an image action: ${faults(parsed.error)}`)
  const { result, 'action-type': action, 'repository-name': repository } = parsed.data
  const { 'image-tag': tag, 'image-digest': digestHint } = parsed.data
  if (result !== 'SUCCESS') return ignored(`the action did not succeed: ${result}`)
  if (action !== 'PUSH' && action !== 'DELETE') return ignored(`not followed: ${action}`)
  if (!isRepositoryName(repository)) return rejected(`${JSON.stringify(repository)} is no repository's name`)
  // The children of an index and attestations are pushed without a tag.
  if (tag === null) return ignored(`${action} without a tag`)
  if (!isTagName(tag)) return rejected(`${JSON.stringify(tag)} is no tag`)
  const at = event.isTimeToTheSecond ? event.time + MS_OF_A_SECOND : event.time
  if (action === 'DELETE') return done((tx) => recordDelete(tx, { repository, tag, at }))
  if (!isReleaseTag(tag)) return ignored(`the tag ${tag} is no release version`)
  return done((tx) => recordPush(tx, { repository, tag, at, digestHint, requestedAt: event.sentAt }))
}
