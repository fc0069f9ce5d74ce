import type { Transaction, Work } from '../store/port.ts'

/** What an event says, read without a store: what to write, or why nothing is to be written. */
export type Reading =
  | { readonly outcome: 'done'; readonly apply: (transaction: Transaction) => Work<void>; readonly note: string | null }
  | { readonly outcome: 'ignored'; readonly reason: string }
  | { readonly outcome: 'rejected'; readonly reason: string }

/** The event was understood: this work takes it in. */
export function done(apply: (transaction: Transaction) => Work<void>, note: string | null = null): Reading {
  return { outcome: 'done', apply, note }
}

/** The event was understood, and is none of this service's business. */
export const ignored = (reason: string): Reading => ({ outcome: 'ignored', reason })

/** The event can never succeed. */
export const rejected = (reason: string): Reading => ({ outcome: 'rejected', reason })
