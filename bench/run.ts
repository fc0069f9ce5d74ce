/** `npm run bench -- NAME` runs the benchmark bench/NAME.ts; without a name it says which there are. */
import { readdirSync } from 'node:fs'

const others = new Set(['run.ts', 'measure.ts'])
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && !others.has(file))
  .map((file) => file.replace(/\.ts$/, ''))
const [name] = process.argv.slice(2)
if (name !== undefined && names.includes(name)) await import(`./${name}.ts`)
else {
  process.stderr.write(`npm run bench -- ${names.join(' | ')}\n`)
  process.exitCode = 2
}
