import { buildImage, buildLayer, pushImage } from '../fakes/image-builder.ts'

/** A small image of a Node service, as the platform's own build makes it. */
export function serviceImage(
  service: string,
  version: string,
  dependencies: Record<string, string> = { lodash: '4.17.20' }
) {
  const json = (value: object) => JSON.stringify(value)
  const base = buildLayer([{ path: 'etc/os-release', content: 'ID=debian\n' }])
  const application = buildLayer([
    { path: 'home/node/app/package.json', content: json({ name: service, version, dependencies }) },
    ...Object.entries(dependencies).map(([name, installed]) => ({
      path: `home/node/app/node_modules/${name}/package.json`,
      content: json({ name, version: installed })
    }))
  ])
  return buildImage({
    layers: [base, application],
    labels: {
      'defra.cdp.service.name': service,
      'defra.cdp.git.repo.url': `https://github.com/DEFRA/${service}`
    }
  })
}

/** Pushes such an image under its version. */
export async function pushService(registry: string, service: string, version: string, repository = service) {
  const image = serviceImage(service, version)
  await pushImage(registry, repository, version, image)
  return image
}
