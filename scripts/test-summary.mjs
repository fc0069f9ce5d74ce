// Tells a whole test run in its last line, `N passed, N failed`, from the report that vitest writes as JSON.
// usage: test-summary.mjs REPORT EXIT_CODE       the report, and the code that the run ended with
// Ends with 1 where anything failed or was left out, or nothing was run.
import { readFileSync } from 'node:fs'

const [path, exitCode] = process.argv.slice(2)

/** The files of the report; where there is none, the run ended before it could write one, and that is the failure. */
function readReport() {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).testResults
  } catch (error) {
    return [{ name: 'the report', status: 'failed', message: error.message, assertionResults: [] }]
  }
}

let passed = 0
const problems = []
for (const { name, status: outcome, message, assertionResults } of readReport()) {
  for (const { status, fullName } of assertionResults) {
    // A test that was left out counts as failed: where this is used, every part must be there.
    if (status === 'passed') passed += 1
    else problems.push(`${status === 'failed' ? 'failed' : 'left out'}: ${fullName}`)
  }
  // A file that could not even be loaded has no tests to count.
  const toldByTests = assertionResults.some(({ status }) => status === 'failed')
  if (outcome === 'failed' && !toldByTests) problems.push(`failed: ${name}: ${message.split('\n')[0]}`)
}
if (passed + problems.length === 0) problems.push('failed: no test was run')
// An error outside of the tests, such as a rejection that nobody took, is in no report.
if (exitCode !== '0' && problems.length === 0) problems.push(`failed: the run ended with ${exitCode}`)

for (const problem of problems) console.log(problem)
console.log(`${passed} passed, ${problems.length} failed`)
process.exitCode = problems.length === 0 ? 0 : 1
