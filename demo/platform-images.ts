/** The images of a platform that does not exist, small and made like real ones. */
import { type BuiltLayer, type BuiltManifest, buildImage, buildLayer } from '../test/fakes/image-builder.ts'

export interface PlatformImage {
  readonly repository: string
  readonly version: string
  readonly image: BuiltManifest
}

type Versions = Readonly<Record<string, string>>

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`

const debian = buildLayer([
  { path: 'etc/os-release', content: 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n' },
  { path: 'etc/debian_version', content: '12.8\n' }
])
const nodeRuntime = buildLayer([
  { path: 'usr/local/include/node/node_version.h', content: '#define NODE_MAJOR_VERSION 24\n' }
])
const javaRuntime = buildLayer([{ path: 'opt/java/openjdk/release', content: 'JAVA_VERSION="21.0.5"\n' }])
const dotnetRuntime = buildLayer([{ path: 'usr/share/dotnet/LICENSE.txt', content: 'MIT License (MIT)\n' }])

function labelsOf(service: string): Versions {
  return {
    'defra.cdp.service.name': service,
    'defra.cdp.git.repo.url': `https://github.com/DEFRA/${service}`
  }
}

function serviceImage(service: string, version: string, layers: readonly BuiltLayer[]): PlatformImage {
  return { repository: service, version, image: buildImage({ layers: [debian, ...layers], labels: labelsOf(service) }) }
}

/** A Node service: its manifest, its lock file, and the packages that npm put beside it. */
export function nodeImage(service: string, version: string, dependencies: Versions): PlatformImage {
  const root = 'home/node/app'
  const packages = {
    '': { name: service, version, dependencies },
    ...Object.fromEntries(
      Object.entries(dependencies).map(([name, installed]) => [`node_modules/${name}`, { version: installed }])
    )
  }
  const application = buildLayer([
    { path: `${root}/package.json`, content: json({ name: service, version, private: true, dependencies }) },
    { path: `${root}/package-lock.json`, content: json({ name: service, version, lockfileVersion: 3, packages }) },
    { path: `${root}/src/index.js`, content: `console.log('${service}')\n` },
    ...Object.entries(dependencies).map(([name, installed]) => ({
      path: `${root}/node_modules/${name}/package.json`,
      content: json({ name, version: installed, main: 'index.js' })
    }))
  ])
  return serviceImage(service, version, [nodeRuntime, application])
}

/** A Maven service as Spring Boot lays it out. */
function javaImage(service: string, version: string, dependencies: Versions): PlatformImage {
  const listed = Object.entries(dependencies).map(([name, wanted]) => {
    const [group, artifact] = name.split(':')
    return `    <dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${wanted}</version></dependency>`
  })
  const pom = [
    '<project xmlns="http://maven.apache.org/POM/4.0.0">',
    '  <modelVersion>4.0.0</modelVersion>',
    `  <groupId>uk.gov.example</groupId><artifactId>${service}</artifactId><version>${version}</version>`,
    '  <dependencies>',
    ...listed,
    '  </dependencies>',
    '</project>'
  ]
  const application = buildLayer([
    { path: `app/META-INF/maven/uk.gov.example/${service}/pom.xml`, content: `${pom.join('\n')}\n` },
    { path: 'app/BOOT-INF/classes/application.yaml', content: 'server:\n  port: 8085\n' }
  ])
  return serviceImage(service, version, [javaRuntime, application])
}

/** A .NET service: what `dotnet publish` writes. */
function dotnetImage(service: string, version: string, assembly: string, dependencies: Versions): PlatformImage {
  const target = '.NETCoreApp,Version=v8.0'
  const packages = Object.entries(dependencies).map(([name, installed]) => [name, `${name}/${installed}`] as const)
  const own = `${assembly}/${version}`
  const document = {
    runtimeTarget: { name: target, signature: '' },
    targets: {
      [target]: {
        [own]: { dependencies, runtime: { [`${assembly}.dll`]: {} } },
        ...Object.fromEntries(packages.map(([name, key]) => [key, { runtime: { [`lib/net8.0/${name}.dll`]: {} } }]))
      }
    },
    libraries: {
      [own]: { type: 'project', serviceable: false, sha512: '' },
      ...Object.fromEntries(packages.map(([, key]) => [key, { type: 'package', serviceable: true, sha512: '' }]))
    }
  }
  const application = buildLayer([
    { path: `app/${assembly}.deps.json`, content: json(document) },
    { path: 'app/appsettings.json', content: json({ Logging: { LogLevel: { Default: 'Information' } } }) }
  ])
  return serviceImage(service, version, [dotnetRuntime, application])
}

/** An image whose lock file was cut short on its way: what can be read of it is read. */
function damagedImage(service: string, version: string): PlatformImage {
  const application = buildLayer([
    { path: 'home/node/app/package.json', content: json({ name: service, version, private: true }) },
    {
      path: 'home/node/app/package-lock.json',
      content: '{\n  "name": "bird-flu-notifications",\n  "lockfileVersion": 3,\n  "pack'
    },
    {
      path: 'home/node/app/node_modules/nodemailer/package.json',
      content: json({ name: 'nodemailer', version: '6.9.16' })
    }
  ])
  return serviceImage(service, version, [nodeRuntime, application])
}

/** What runs beside services, made by nobody who labels images. */
function unlabelledImage(repository: string, version: string): PlatformImage {
  const collector = buildLayer([{ path: 'etc/otelcol/config.yaml', content: 'receivers:\n  otlp: {}\n' }])
  return { repository, version, image: buildImage({ layers: [debian, collector] }) }
}

const frontend = (version: string, more: Versions) =>
  nodeImage('cdp-portal-frontend', version, { '@hapi/hapi': '21.3.12', 'govuk-frontend': '5.7.1', ...more })
const backend = (version: string, more: Versions) =>
  nodeImage('cdp-portal-backend', version, { fastify: '5.2.0', pino: '9.5.0', ...more })
const grants = (version: string, more: Versions) =>
  nodeImage('grants-application-frontend', version, { '@hapi/hapi': '21.3.10', 'govuk-frontend': '5.4.0', ...more })

/** Every image that the platform has pushed, the oldest first. */
export const platformImages: readonly PlatformImage[] = [
  unlabelledImage('cdp-otel-collector', '0.98.0'),
  frontend('0.7.0', { lodash: '4.17.20' }),
  frontend('0.8.0', { lodash: '4.17.20' }),
  backend('1.3.0', { undici: '6.19.7' }),
  javaImage('cdp-user-service', '2.2.0', {
    'org.springframework.boot:spring-boot': '3.3.5',
    'org.apache.logging.log4j:log4j-core': '2.17.1'
  }),
  dotnetImage('forestry-permits-api', '2.1.0', 'Forestry.Permits.Api', {
    'Newtonsoft.Json': '12.0.3',
    'MongoDB.Driver': '2.28.0'
  }),
  javaImage('water-quality-service', '2.8.4', { 'com.fasterxml.jackson.core:jackson-databind': '2.15.2' }),
  javaImage('water-quality-service', '3.1.0', { 'com.fasterxml.jackson.core:jackson-databind': '2.17.2' }),
  grants('1.0.0', { axios: '1.7.3' }),
  grants('1.1.0', { axios: '1.7.7' }),
  frontend('0.9.0', { lodash: '4.17.21' }),
  backend('1.4.0', { undici: '6.21.0' }),
  javaImage('cdp-user-service', '2.3.0', {
    'org.springframework.boot:spring-boot': '3.4.0',
    'org.apache.logging.log4j:log4j-core': '2.24.2'
  }),
  dotnetImage('forestry-permits-api', '2.2.0', 'Forestry.Permits.Api', {
    'Newtonsoft.Json': '13.0.3',
    'MongoDB.Driver': '3.0.0'
  }),
  javaImage('water-quality-service', '3.2.0', { 'com.fasterxml.jackson.core:jackson-databind': '2.18.1' }),
  damagedImage('bird-flu-notifications', '0.3.0'),
  frontend('0.9.1', { lodash: '4.17.21', '@hapi/yar': '11.0.2' })
]
