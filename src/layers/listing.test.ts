import { zstdCompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeListing, ENTRY_TYPES, encodeListing, type LayerEntry } from './listing.ts'

const entry: fc.Arbitrary<LayerEntry> = fc.record(
  {
    path: fc.string({ unit: 'binary' }),
    type: fc.constantFrom(...ENTRY_TYPES),
    size: fc.maxSafeNat(),
    linkTarget: fc.string({ unit: 'binary' })
  },
  { requiredKeys: ['path', 'type', 'size'] }
)

describe("a layer's listing", () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        expect(decodeListing(encodeListing(entries))).toEqual(entries)
      })
    )
  })

  it('takes a few bytes for each path', () => {
    const entries = Array.from(
      { length: 8000 },
      (_, at): LayerEntry => ({ path: `usr/share/doc/package-${at % 90}/file-${at}`, type: 'file', size: at * 37 })
    )
    expect(encodeListing(entries).length).toBeLessThan(8000 * 12)
  })

  it('is refused where it is of another version or no listing', () => {
    const text = (value: string) => Buffer.concat([Buffer.of(1), zstdCompressSync(value)])
    const [first = 0, ...rest] = encodeListing([])
    expect(() => decodeListing(Uint8Array.from([first + 1, ...rest]))).toThrow(
      expect.objectContaining({ code: 'unsupported' })
    )
    const broken = [
      Buffer.of(1),
      Buffer.from('\u0001text'),
      text('{'),
      text('{}'),
      text('[1]'),
      text('[["a",99,1]]'),
      text('[["a",0]]')
    ]
    for (const bytes of broken) expect(() => decodeListing(bytes)).toThrow(expect.objectContaining({ code: 'corrupt' }))
    expect(() => decodeListing(new Uint8Array())).toThrow(expect.objectContaining({ code: 'unsupported' }))
  })
})
