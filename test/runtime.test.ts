import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'

// npm itself may run under any Node; it puts node_modules/.bin first on the PATH of what it starts.
describe('the tests run under the Node that the service runs under', () => {
  it('this process is Node 24 or newer', () => {
    expect(Number(process.versions.node.split('.')[0])).toBeGreaterThanOrEqual(24)
  })

  it('and so is a `node` that a test starts', () => {
    const { stdout } = spawnSync('node', ['-p', 'process.versions.node'], { encoding: 'utf8' })
    expect(stdout.trim()).toBe(process.versions.node)
  })
})
