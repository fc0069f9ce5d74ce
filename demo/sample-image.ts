/** Writes two versions of a small image as an OCI layout, for those who have none at hand: `npm run sample-image`. */
import { writeLayout } from '../test/fakes/image-builder.ts'
import { nodeImage } from './platform-images.ts'

const FOLDER = 'data/sample-image'
const SERVICE = 'cdp-portal-frontend'

for (const [version, lodash] of [
  ['0.1.0', '4.17.20'],
  ['0.2.0', '4.17.21']
] as const) {
  const { image } = nodeImage(SERVICE, version, { '@hapi/hapi': '21.3.12', lodash })
  await writeLayout(FOLDER, image, version)
  console.log(`oci:${FOLDER}:${version} is ${SERVICE} ${version}`)
}
