/** Parameters that several routes take. Each message goes on from the parameter's name. */
import { z } from 'zod'

export const DEFAULT_PAGE_SIZE = 20
export const MAX_PAGE_SIZE = 1_000
/** Longer than any name of an image, service or environment. */
export const MAX_NAME_LENGTH = 512

const WHOLE = 'must be a whole number, 0 or more'

/** A whole number of the query; `none` where it is 0, empty or left out. */
function wholeNumber(none: number, max: number) {
  return z
    .string(WHOLE)
    .regex(/^\d*$/, WHOLE)
    .transform(Number)
    .pipe(z.number().max(max, `must be at most ${max}`))
    .transform((number) => number || none)
    .prefault('')
}

/** `page`, `size`: of 0 or none they are 1 and 20. */
export const pageParameters = {
  page: wholeNumber(1, Number.MAX_SAFE_INTEGER).meta({ description: 'From 1.' }),
  size: wholeNumber(DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE).meta({ description: `At most ${MAX_PAGE_SIZE}; 20 by default.` })
}

export const offsetParameter = wholeNumber(0, Number.MAX_SAFE_INTEGER).meta({
  description: 'Records left out at the start, besides those of the pages before.'
})

/** A filter by one text: empty is none. */
export function filterParameter(description: string) {
  return z
    .string('must be given once')
    .max(MAX_NAME_LENGTH, `must have at most ${MAX_NAME_LENGTH} characters`)
    .transform((text) => (text === '' ? undefined : text))
    .optional()
    .meta({ description })
}

/**
 * The bound of a text in a body. Not `.max()`: zod would ask it of whatever has a `length`, and a body may hold an object with
 * one that is no number.
 */
export function atMost(length: number) {
  return z.refine<string>((text) => text.length <= length, `must have at most ${length} characters`)
}

/** A text that must be there. */
export function requiredText(maxLength: number) {
  return z
    .string({ error: ({ input }) => (input === undefined || input === null ? 'is missing' : 'must be a text') })
    .check(atMost(maxLength))
    .refine((text) => text.trim() !== '', { message: 'is missing', abort: true })
}

/** A name in the path. */
export const nameInPath = z
  .string()
  .min(1, 'is missing')
  .max(MAX_NAME_LENGTH, `must have at most ${MAX_NAME_LENGTH} characters`)

const TIME = 'must be a time in ISO 8601 with its zone, such as 2024-05-01T12:00:00Z'

/** A time with its zone, as milliseconds; null where it is empty or left out. */
export const timeParameter = z
  .string('must be given once')
  // A `+` that was not encoded arrives as a space.
  .transform((text) => text.replace(/ (\d\d:?\d\d)$/, '+$1'))
  .pipe(z.literal('').or(z.iso.datetime({ offset: true, error: TIME })))
  .transform((text) => (text === '' ? null : Date.parse(text)))
  .prefault('')
