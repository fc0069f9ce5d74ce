/**
 * The parts of ECS's events that are read, https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html
 * Everything that a sender may leave out is optional here.
 */
import { z } from 'zod'
import { isDeploymentId } from '../../deployments/deployments.ts'

// Not `.min(1)`: zod would ask it of whatever has a `length`, and an event may hold one that is no number.
const nonEmpty = z.string().refine((value) => value !== '', 'is empty')

const text = z
  .union([z.string(), z.number().transform(String)])
  .nullish()
  .transform((value) => (value === undefined || value === '' ? null : value))

// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
export const taskStateChangeSchema = z.object({
  lastStatus: z.string().transform((status) => status.toUpperCase()),
  containers: z.array(
    z.object({
      name: text,
      image: text,
      imageDigest: text,
      lastStatus: text.transform((status) => status?.toUpperCase() ?? null),
      exitCode: z.number().int().nullish(),
      reason: text
    })
  ),
  taskArn: text,
  taskDefinitionArn: text,
  startedBy: text,
  group: text,
  version: z
    .union([
      z.number(),
      z
        .string()
        .regex(/^\d{1,15}$/)
        .transform(Number)
    ])
    .nullish(),
  cpu: text,
  memory: text,
  createdAt: text,
  startedAt: text,
  stoppedAt: text,
  updatedAt: text,
  stopCode: text,
  stoppedReason: text
})

// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
export const deploymentStateChangeSchema = z.object({
  eventName: nonEmpty,
  eventType: text,
  deploymentId: text,
  updatedAt: text,
  reason: text
})

// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html
export const serviceActionSchema = z.object({
  eventName: nonEmpty,
  eventType: text,
  createdAt: text,
  reason: text
})

/** The deployment pipeline's own event: its two facts lie beside `detail`. */
export const pipelineSchema = z.object({
  cdp_deployment_id: z.string().refine(isDeploymentId, 'is no deployment id'),
  deployed_by: z
    .union([z.string(), z.object({ userId: text, displayName: text })])
    .nullish()
    .transform((by) => (typeof by === 'string' ? { userId: null, displayName: by === '' ? null : by } : (by ?? null)))
})

export const pipelineDetailSchema = z.object({ deploymentId: text })
