import { describe, expect, it } from 'vitest'
import { formatBytes } from './image-report.ts'

describe('bytes for people', () => {
  it.each([
    [0, '0 B'],
    [1, '1 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [10 * 1024 ** 2, '10.0 MiB'],
    [3 * 1024 ** 5, '3072.0 TiB']
  ])('%d are %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})
