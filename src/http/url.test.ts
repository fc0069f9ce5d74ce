import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isQueryWellFormed, rewriteTarget } from './url.ts'

describe('the target of a request', () => {
  it.each([
    ['/services', '/services'],
    ['/cdp-portal-backend/services', '/services'],
    ['/CDP-Portal-Backend/services?x=/a', '/services?x=/a'],
    ['/cdp-portal-backend', '/'],
    ['/cdp-portal-backend/', '/'],
    ['/cdp-portal-backend?x=1', '/?x=1'],
    // Another name that only begins so.
    ['/cdp-portal-backends/services', '/cdp-portal-backends/services'],
    ['/deployables/team/service', '/deployables/team%2Fservice'],
    ['/deployables/team%2Fservice', '/deployables/team%2Fservice'],
    ['/deployables/team/service/?a=b/c', '/deployables/team%2Fservice?a=b/c'],
    ['/Whats-Running-Where/Team/S', '/Whats-Running-Where/Team%2FS'],
    ['/deployments/ecs-svc/123', '/deployments/ecs-svc%2F123'],
    ['/deployments/', '/deployments/'],
    ['/deployments/?page=1', '/deployments/?page=1'],
    ['/artifacts/foo/1.0.0', '/artifacts/foo/1.0.0'],
    ['http://example.org/deployments/a/b', '/deployments/a%2Fb'],
    ['http://example.org', '/'],
    ['http://example.org?x=1', '/?x=1'],
    ['*', '/*'],
    ['', '/']
  ])('%s is %s', (target, expected) => expect(rewriteTarget(target)).toBe(expected))

  it('is rewritten once: what is rewritten stays as it is, and always begins with a slash', () => {
    const part = fc.constantFrom('/', 'deployments', 'services', 'cdp', '%2F', '?', 'a', 'ecs-svc', '*', 'http://h')
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const once = rewriteTarget(parts.join(''))
        expect(once.startsWith('/')).toBe(true)
        expect(rewriteTarget(once)).toBe(once)
      })
    )
  })

  it('keeps a parameter whole, whatever is in it', () => {
    fc.assert(
      fc.property(
        fc.webPath().filter((path) => path.length > 1 && !path.endsWith('/')),
        (path) => {
          const rewritten = rewriteTarget(`/services${path}`)
          const parameter = rewritten.slice('/services/'.length)
          expect(parameter).not.toContain('/')
          expect(decodeURIComponent(parameter)).toBe(decodeURIComponent(path.slice(1)))
        }
      )
    )
  })
})

describe('a query', () => {
  it.each(['/a', '/a?', '/a?b=c', '/a?b=%20', '/%zz?b', '/a?b=%E2%82%AC', '/a?b=+'])('%s is well formed', (target) =>
    expect(isQueryWellFormed(target)).toBe(true)
  )
  it.each(['/a?b=%', '/a?b=%zz', '/a?b=%E2%82', '/a?%=1'])('%s is not', (target) =>
    expect(isQueryWellFormed(target)).toBe(false)
  )
})
