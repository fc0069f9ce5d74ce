import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'

const script = fileURLToPath(new URL('./test-summary.mjs', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'test-summary-'))

afterAll(() => rmSync(folder, { recursive: true }))

const test = (status: string, fullName = 'a test') => ({ status, fullName })
const file = (status: string, message: string, ...assertionResults: object[]) => ({
  name: 'a.test.ts',
  status,
  message,
  assertionResults
})

function summary(testResults: unknown, exitCode = '0') {
  const report = join(folder, 'report.json')
  writeFileSync(report, testResults === null ? '{' : JSON.stringify({ testResults }))
  const { status, stdout } = spawnSync(process.execPath, [script, report, exitCode], { encoding: 'utf8' })
  return { status, lines: stdout.trimEnd().split('\n') }
}

describe('the summary of a test run', () => {
  it('is one line when all is well', () => {
    expect(summary([file('passed', '', test('passed'), test('passed'))])).toEqual({
      status: 0,
      lines: ['2 passed, 0 failed']
    })
  })

  it('names what failed and what was left out, and ends with the line', () => {
    expect(summary([file('failed', '', test('passed'), test('failed', 'one'), test('skipped', 'two'))], '1')).toEqual({
      status: 1,
      lines: ['failed: one', 'left out: two', '1 passed, 2 failed']
    })
  })

  it.each([
    [
      'a file that could not be loaded',
      [file('failed', 'SyntaxError: no\nstack')],
      '1',
      'failed: a.test.ts: SyntaxError: no'
    ],
    ['an error outside of the tests', [file('passed', '', test('passed'))], '1', 'failed: the run ended with 1'],
    ['a run without tests', [], '0', 'failed: no test was run'],
    ['a report that cannot be read', null, '0', expect.stringContaining('failed: the report')]
  ])('fails for %s', (_, testResults, exitCode, problem) => {
    const { status, lines } = summary(testResults, exitCode)
    expect(status).toBe(1)
    expect(lines[0]).toEqual(problem)
    expect(lines.at(-1)).toMatch(/^\d+ passed, 1 failed$/)
  })
})
