import { format, inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { createSecret } from './secret.ts'

describe('a secret', () => {
  const secret = createSecret('hunter2')

  it('is told to who asks for it', () => {
    expect(secret.reveal()).toBe('hunter2')
  })

  it.each([
    ['a template', `${secret}`],
    ['JSON', JSON.stringify({ secret })],
    ['inspect', inspect({ deep: { secret } }, { depth: null, showHidden: true })],
    ['format', format('%s %o %j', secret, secret, secret)]
  ])('is masked in %s', (_, text) => {
    expect(text).not.toContain('hunter2')
    expect(text).toContain('[secret]')
  })
})
