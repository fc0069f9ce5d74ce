// Installs what package-lock.json lists when that is not what is installed, so that `npm test` and `npm run demo` work in
// a fresh clone and after a pull. Runs under whatever Node the machine has (14 or newer), and imports nothing but Node's
// own modules: it is what runs before anything is installed.
import { spawn, spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NEEDED_NODE = 24
const WAIT_MS = 250
const NEWS_EVERY_MS = 10_000

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const bin = join(root, 'node_modules', '.bin')
const lock = join(root, '.install.lock')

const say = (line) => process.stderr.write(`${line}\n`)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const packagesIn = (file) => JSON.parse(readFileSync(join(root, file), 'utf8')).packages

/**
 * Whether each package of the lockfile is there in its version, and no other. npm keeps its own list of what it put into
 * node_modules; a package that was deleted by hand is still in that list, so its folder is looked for as well.
 */
function packagesAreInstalled() {
  const wanted = packagesIn('package-lock.json')
  let installed
  try {
    installed = packagesIn('node_modules/.package-lock.json')
  } catch (_absentOrCutShort) {
    return false
  }
  const isPackage = (path) => path.startsWith('node_modules/')
  return (
    Object.keys(wanted)
      .filter(isPackage)
      .every((path) => {
        const one = wanted[path]
        const other = installed[path]
        // An optional package may be of another platform. Which, npm decides.
        if (other === undefined) return one.optional === true
        return (
          one.version === other.version &&
          one.integrity === other.integrity &&
          Boolean(one.link) === Boolean(other.link) &&
          existsSync(join(root, path, 'package.json'))
        )
      }) &&
    Object.keys(installed)
      .filter(isPackage)
      .every((path) => wanted[path] !== undefined)
  )
}

/** Whether the `node` that an npm script would find, the project's own before the machine's, is new enough. */
function nodeIsNewEnough() {
  const PATH = `${bin}${delimiter}${process.env.PATH}`
  const { stdout } = spawnSync('node', ['--version'], {
    env: Object.assign({}, process.env, { PATH }),
    encoding: 'utf8'
  })
  const found = /^v(\d+)\./.exec(stdout || '')
  return found !== null && Number(found[1]) >= NEEDED_NODE
}

/** Runs the npm that runs this script (or the one on the PATH), and resolves with its exit code. */
function npmInstall() {
  const { npm_execpath: npm, npm_node_execpath: node } = process.env
  const [command, before] = npm && /npm-cli\.c?js$/.test(npm) ? [node || process.execPath, [npm]] : ['npm', []]
  // What npm has to say goes to stderr: stdout belongs to the command that is run after this one.
  const child = spawn(command, [...before, 'ci', '--include=dev'], { cwd: root, stdio: ['ignore', 2, 2] })
  return new Promise((resolve) => {
    child.on('error', (error) => {
      say(`npm could not be started: ${error.message}`)
      resolve(1)
    })
    child.on('close', (code) => resolve(code === null ? 1 : code))
    // Should this process be killed, npm goes on: the lock names both, and is held while either lives.
    if (child.pid !== undefined) appendFileSync(lock, `${child.pid}\n`)
  })
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Removes the lock of processes that have been killed. */
function dropAbandonedLock() {
  const aside = `${lock}.${process.pid}`
  try {
    const holders = readFileSync(lock, 'utf8')
    // Nothing in it yet: it is being written at this moment.
    if (holders === '' || holders.trim().split('\n').map(Number).some(isAlive)) return
    renameSync(lock, aside)
    // Another process may have been first, and this is its new lock: give it back.
    if (readFileSync(aside, 'utf8') !== holders) linkSync(aside, lock)
    unlinkSync(aside)
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
}

/** Does the work while no other process does: two `npm ci` in one folder delete each other's files. */
async function alone(work) {
  for (let told = false; ; ) {
    try {
      writeFileSync(lock, `${process.pid}\n`, { flag: 'wx' })
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    dropAbandonedLock()
    if (!told) say('Another process is installing the packages; waiting for it.')
    told = true
    await sleep(WAIT_MS)
  }
  try {
    return await work()
  } finally {
    unlinkSync(lock)
  }
}

async function install() {
  const began = Date.now()
  const seconds = () => `${Math.round((Date.now() - began) / 1000)} s`
  say('Installing what package-lock.json lists; this takes about a minute, once.')
  // npm draws its progress only on a terminal.
  const news = process.stderr.isTTY
    ? undefined
    : setInterval(() => say(`Still installing, ${seconds()} …`), NEWS_EVERY_MS)
  const code = await npmInstall()
  clearInterval(news)
  if (code !== 0) {
    say(`The packages could not be installed: npm ci ended with ${code}; what it says is above.`)
    return false
  }
  say(`Installed in ${seconds()}.`)
  return true
}

/** What stands in the way of running, as one line; null when nothing does. */
function obstacle() {
  if (nodeIsNewEnough()) return null
  return (
    `Node ${NEEDED_NODE} is missing: it comes by the install script of the npm package "node", the only one there is, ` +
    'and npm did not run it (ignore-scripts?). Run: npm ci --include=dev --ignore-scripts=false'
  )
}

async function ensureInstalled() {
  // npm tells its settings to what it runs. Installing first, to find Node missing then, would waste a minute each time.
  const cannotHelp = process.env.npm_config_ignore_scripts === 'true' && obstacle() !== null
  const isReady = () => packagesAreInstalled() && obstacle() === null
  if (!cannotHelp && !isReady() && !(await alone(async () => isReady() || install()))) return 1
  const left = obstacle()
  if (left !== null) say(left)
  return left === null ? 0 : 1
}

ensureInstalled().then(
  (code) => {
    process.exitCode = code
  },
  (error) => {
    say(`The packages could not be checked: ${error.message}`)
    process.exitCode = 1
  }
)
