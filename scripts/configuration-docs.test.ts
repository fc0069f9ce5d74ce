import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { configurationDocs } from './configuration-docs.ts'

describe('docs/configuration.md', () => {
  it('is what the schema of the settings says (else: npm run docs)', () => {
    expect(readFileSync(new URL('../docs/configuration.md', import.meta.url), 'utf8')).toBe(configurationDocs())
  })
})
