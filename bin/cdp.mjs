#!/usr/bin/env node
// The `cdp` command. Any Node from 12 on can parse this file, so that one that is too old is told so in a line and not in
// a syntax error. What it imports then is TypeScript, which Node runs as it is from 24 on.

const NEEDED_NODE = 24

function fail(line) {
  process.stderr.write(`${line}\n`)
  process.exitCode = 2
}

/** Puts what a file `.env` in the working directory says into the environment, except what that says itself. */
function readEnvFile() {
  try {
    process.loadEnvFile()
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
}

function run(cli) {
  readEnvFile()
  return cli.run(process.argv.slice(2)).then((code) => {
    process.exitCode = code
  })
}

function explain(error) {
  // A file of the project's own that is missing is another matter, and not mended by installing.
  if (error.code !== 'ERR_MODULE_NOT_FOUND' || !/^Cannot find package/.test(error.message)) throw error
  fail('cdp needs its packages, and they are not installed: run `npm ci` in its folder first')
}

if (Number(process.versions.node.split('.')[0]) < NEEDED_NODE) {
  fail(
    `cdp needs Node ${NEEDED_NODE} or newer (this is ${process.version}): use \`npm start\` or \`npx cdp\`, ` +
      'which bring their own, or get it from https://nodejs.org'
  )
} else {
  import('../src/cli.ts').then(run, explain)
}
