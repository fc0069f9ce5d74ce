/** The parts of ECR's events that are read, https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html */
import { z } from 'zod'

const text = z
  .string()
  .nullish()
  .transform((value) => (value === undefined || value === '' ? null : value))

export const imageActionSchema = z.object({
  result: z.string(),
  'action-type': z.string(),
  'repository-name': z.string().min(1),
  'image-tag': text,
  'image-digest': text
})
