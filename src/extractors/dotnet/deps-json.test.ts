import { describe, expect, it } from 'vitest'
import { depsJson } from './deps-json.ts'

// As `dotnet publish --self-contained` writes it, shortened.
const PUBLISHED = {
  runtimeTarget: { name: '.NETCoreApp,Version=v8.0/linux-x64', signature: '' },
  compilationOptions: {},
  targets: {
    '.NETCoreApp,Version=v8.0': {},
    '.NETCoreApp,Version=v8.0/linux-x64': {
      'Defra.Service/1.4.0': {
        dependencies: { 'Newtonsoft.Json': '13.0.3', 'runtimepack.Microsoft.NETCore.App.Runtime.linux-x64': '8.0.1' },
        runtime: { 'Defra.Service.dll': {} }
      },
      'runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1': {
        runtime: { 'System.Private.CoreLib.dll': { assemblyVersion: '8.0.0.0', fileVersion: '8.0.123.58001' } },
        native: { 'libcoreclr.so': { fileVersion: '0.0.0.0' } }
      },
      'Newtonsoft.Json/13.0.3': {
        runtime: { 'lib/net6.0/Newtonsoft.Json.dll': { assemblyVersion: '13.0.0.0', fileVersion: '13.0.3.27908' } }
      },
      'NETStandard.Library/2.0.3': { dependencies: { 'Microsoft.NETCore.Platforms': '1.1.0' } },
      'System.Buffers/4.3.0': { runtime: { 'lib/netstandard1.1/_._': {} } },
      'SQLitePCLRaw.lib.e_sqlite3/2.1.6': {
        native: { 'runtimes/linux-x64/native/libe_sqlite3.so': { fileVersion: '0.0.0.0' } }
      }
    }
  },
  libraries: {
    'Defra.Service/1.4.0': { type: 'project', serviceable: false, sha512: '' },
    'runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1': {
      type: 'runtimepack',
      serviceable: false,
      sha512: ''
    },
    'Newtonsoft.Json/13.0.3': {
      type: 'package',
      serviceable: true,
      sha512: 'sha512-x',
      path: 'newtonsoft.json/13.0.3'
    },
    'NETStandard.Library/2.0.3': { type: 'package', serviceable: true, sha512: 'sha512-x' },
    'System.Buffers/4.3.0': { type: 'package', serviceable: true, sha512: 'sha512-x' },
    'SQLitePCLRaw.lib.e_sqlite3/2.1.6': { type: 'package', serviceable: true, sha512: 'sha512-x' },
    'Some.Assembly.Reference/1.0.0.0': { type: 'reference', serviceable: false, sha512: '' }
  }
}

const read = async (document: unknown) => {
  const { packages } = await depsJson.extract(Buffer.from(JSON.stringify(document)))
  return packages.map(({ purl, evidence }) => `${evidence} ${purl}`)
}

describe('*.deps.json', () => {
  it('names what brings files as installed, what only groups others as declared, and no references', async () => {
    expect(await read(PUBLISHED)).toEqual([
      'installed pkg:nuget/Defra.Service@1.4.0',
      'installed pkg:nuget/Microsoft.NETCore.App.Runtime.linux-x64@8.0.1',
      'installed pkg:nuget/Newtonsoft.Json@13.0.3',
      'declared pkg:nuget/NETStandard.Library@2.0.3',
      'declared pkg:nuget/System.Buffers@4.3.0',
      'installed pkg:nuget/SQLitePCLRaw.lib.e_sqlite3@2.1.6'
    ])
  })

  it.each([
    {},
    { libraries: [] },
    { libraries: { a: { type: 'package' } } },
    {
      libraries: {
        '/1.0': { type: 'package' },
        'a/': { type: 'package' },
        'a/b/c': { type: 'package' },
        'a b/1': { type: 'package' }
      }
    },
    { libraries: { 'a/1.0': 'package' }, targets: { x: { 'a/1.0': 1 } } }
  ])('finds nothing in %j', async (document) => {
    expect(await read(document)).toEqual([])
  })

  it('takes no key for an inherited one', async () => {
    const { packages } = await depsJson.extract(
      Buffer.from(
        '{"libraries":{"__proto__":{"type":"package"},"constructor/1.0.0":{"type":"package"}},"targets":{"__proto__":{}}}'
      )
    )
    expect(packages.map(({ purl }) => purl)).toEqual(['pkg:nuget/constructor@1.0.0'])
  })
})
