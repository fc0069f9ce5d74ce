/** A page of a list as clients ask for it. */
export interface PageRequest {
  /** From 1. */
  readonly page: number
  /** Entries on a page, at least 1. */
  readonly size: number
  /** Entries left out at the start of the list, besides those of the pages before. */
  readonly offset: number
}

/** The part of a list that a page shows, in rows. A page beyond every list stays one: an exact integer, where nothing is. */
export function pageWindow({ page, size, offset }: PageRequest): { offset: number; limit: number } {
  return { offset: Math.min((page - 1) * size + offset, Number.MAX_SAFE_INTEGER), limit: size }
}

/** How many pages a list of `total` rows has; 1 where there is nothing, since a page is always shown. */
export function totalPages(total: number, { size, offset }: PageRequest): number {
  return Math.max(1, Math.ceil((total - offset) / size))
}
