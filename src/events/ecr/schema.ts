/** The parts of ECR's events that are read, https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html */
import { z } from 'zod'

// Not `.min(1)`: zod would ask it of whatever has a `length`, and an event may hold one that is no number.
const nonEmpty = z.string().refine((value) => value !== '', 'is empty')

const text = z
  .string()
  .nullish()
  .transform((value) => (value === undefined || value === '' ? null : value))

export const imageActionSchema = z.object({
  result: z.string(),
  'action-type': z.string(),
  'repository-name': nonEmpty,
  'image-tag': text,
  'image-digest': text
})
