import { describe, expect, it, vi } from 'vitest'
import { requirePart } from './parts.ts'

describe('a part that tests need', () => {
  it('is where the variable says', () => {
    expect(requirePart('docker-registry', 'http://localhost:5000')).toBe('http://localhost:5000')
  })

  it.each([undefined, ''])('is skipped with a line that says so where it is missing (%j)', (value) => {
    vi.stubEnv('REQUIRE_ALL_PARTS', '')
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    expect(requirePart('docker-registry', value)).toBeNull()
    expect(write).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('docker-registry'))
  })

  it('fails where it is missing and every part must be there', () => {
    vi.stubEnv('REQUIRE_ALL_PARTS', '1')
    expect(() => requirePart('docker-registry', undefined)).toThrow('docker-registry is missing')
  })
})
