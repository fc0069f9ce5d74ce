import { type Extractor, fileName } from '../extractor.ts'
import { createFoundPackages } from '../found-packages.ts'
import { readJsonObject } from '../json-document.ts'
import { isPackageVersion, parsePackageName } from './package-name.ts'

const FILE = 'package.json'
// Where a package manager puts a package: node_modules/name or node_modules/@scope/name, at any depth.
const INSTALLED = /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/@.][^/]*\/package\.json$/
const INSIDE_INSTALLED = /(?:^|\/)node_modules\//

/**
 * `package.json`: the package that it describes, where one is: https://docs.npmjs.com/cli/configuring-npm/package-json.
 *
 * An installed package carries other files of that name (fixtures, `{"type":"module"}`): those are served and not read.
 * What it depends on are ranges, which are no packages. Without a name or a version it is a private application.
 */
export const packageJson: Extractor = {
  name: 'npm-package',
  version: 1,
  wants: ({ path }) => fileName(path) === FILE && (INSTALLED.test(path) || !INSIDE_INSTALLED.test(path)),
  serves: (path) => fileName(path) === FILE,
  extract(content) {
    const { name, version } = readJsonObject(content)
    const packages = createFoundPackages()
    const parsed = parsePackageName(name)
    if (parsed !== null && isPackageVersion(version))
      packages.add('npm', parsed.scope, parsed.name, version, 'installed')
    return packages.extraction()
  }
}
