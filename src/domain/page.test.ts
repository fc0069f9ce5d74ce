import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { pageWindow, totalPages } from './page.ts'

describe('pages', () => {
  it('show every row once and in order, after the offset', () => {
    fc.assert(
      fc.property(fc.nat(50), fc.integer({ min: 1, max: 12 }), fc.nat(60), (total, size, offset) => {
        const rows = Array.from({ length: total }, (_, index) => index)
        const pages = totalPages(total, { page: 1, size, offset })
        const shown = Array.from({ length: pages }, (_, index) => {
          const window = pageWindow({ page: index + 1, size, offset })
          return rows.slice(window.offset, window.offset + window.limit)
        })
        expect(shown.flat()).toEqual(rows.slice(offset))
        // No page but the only one is empty.
        expect(pages === 1 || shown.every((page) => page.length > 0)).toBe(true)
      })
    )
  })

  it('are one where there is nothing', () => {
    expect(totalPages(0, { page: 1, size: 20, offset: 0 })).toBe(1)
    expect(totalPages(5, { page: 1, size: 20, offset: 50 })).toBe(1)
  })

  it('stay exact however far away', () => {
    const far = Number.MAX_SAFE_INTEGER
    expect(pageWindow({ page: far, size: 1_000, offset: far })).toEqual({ offset: far, limit: 1_000 })
  })
})
