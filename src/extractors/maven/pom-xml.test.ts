import { describe, expect, it } from 'vitest'
import { pomXml } from './pom-xml.ts'

const read = async (xml: string | Buffer) => {
  const { packages } = await pomXml.extract(Buffer.from(xml))
  return packages.map(({ purl, evidence }) => `${evidence} ${purl}`)
}

const SERVICE = `<?xml version="1.0" encoding="UTF-8"?>
<!-- a comment -->
<project xmlns="http://maven.apache.org/POM/4.0.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
         xsi:schemaLocation="http://maven.apache.org/POM/4.0.0 http://maven.apache.org/xsd/maven-4.0.0.xsd">
  <modelVersion>4.0.0</modelVersion>
  <parent>
    <groupId>org.springframework.boot</groupId>
    <artifactId>spring-boot-starter-parent</artifactId>
    <version>3.2.1</version>
  </parent>
  <groupId>uk.gov.defra</groupId>
  <artifactId>service</artifactId>
  <version>\${revision}</version>
  <properties>
    <revision>1.4.0</revision>
    <log4j.version>2.\${log4j.minor}</log4j.version>
    <log4j.minor>22.1</log4j.minor>
  </properties>
  <dependencyManagement>
    <dependencies>
      <dependency><groupId>com.fasterxml.jackson.core</groupId><artifactId>jackson-databind</artifactId><version>2.16.0</version></dependency>
      <dependency><groupId>org.managed</groupId><artifactId>only</artifactId><version>1.0</version></dependency>
    </dependencies>
  </dependencyManagement>
  <dependencies>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>\${log4j.version}</version></dependency>
    <dependency>
      <groupId>com.fasterxml.jackson.core</groupId>
      <artifactId>jackson-databind</artifactId>
      <exclusions><exclusion><groupId>org.excluded</groupId><artifactId>x</artifactId><version>1</version></exclusion></exclusions>
    </dependency>
    <dependency><groupId>\${project.groupId}</groupId><artifactId>sibling</artifactId><version>\${project.version}</version></dependency>
    <dependency><groupId>org.springframework.boot</groupId><artifactId>from-parent</artifactId></dependency>
    <dependency><groupId>org.range</groupId><artifactId>range</artifactId><version>[1.0,2.0)</version></dependency>
    <dependency><groupId>org.unknown</groupId><artifactId>unknown</artifactId><version>\${not.here}</version></dependency>
    <dependency><groupId>junit</groupId><artifactId>junit</artifactId><version><![CDATA[4.13.2]]></version><scope>test</scope></dependency>
  </dependencies>
  <build><plugins><plugin><groupId>org.plugin</groupId><artifactId>plugin</artifactId><version>1.0</version>
    <dependencies><dependency><groupId>org.of.plugin</groupId><artifactId>x</artifactId><version>1</version></dependency></dependencies>
  </plugin></plugins></build>
</project>`

describe('pom.xml', () => {
  it('names the project and those dependencies whose version this file knows', async () => {
    expect(await read(SERVICE)).toEqual([
      'declared pkg:maven/uk.gov.defra/service@1.4.0',
      'declared pkg:maven/org.apache.logging.log4j/log4j-core@2.22.1',
      'declared pkg:maven/com.fasterxml.jackson.core/jackson-databind@2.16.0',
      'declared pkg:maven/uk.gov.defra/sibling@1.4.0',
      'declared pkg:maven/junit/junit@4.13.2'
    ])
  })

  it("has its parent's group and version where it states none", async () => {
    const xml =
      '<project><parent><groupId>g</groupId><artifactId>p</artifactId><version>2</version></parent><artifactId>a</artifactId></project>'
    expect(await read(xml)).toEqual(['declared pkg:maven/g/a@2'])
  })

  it('yields no package without coordinates', async () => {
    expect(await read('<project/>')).toEqual([])
    expect(await read('<project><artifactId>a</artifactId></project>')).toEqual([])
  })

  it('reads the encoding that is declared, and a byte order mark', async () => {
    const xml =
      '<project><name>Gr\u00fc\u00dfe</name><groupId>g</groupId><artifactId>a</artifactId><version>1</version></project>'
    expect(await read(Buffer.from(`<?xml version="1.0" encoding="ISO-8859-1"?>${xml}`, 'latin1'))).toHaveLength(1)
    expect(await read(`\uFEFF<?xml version="1.0"?>${xml}`)).toHaveLength(1)
  })

  it.each([
    ['encoding', Buffer.from('<project><name>\u00fc</name></project>', 'latin1')],
    ['encoding', Buffer.from('<?xml version="1.0" encoding="no-such"?><project/>')],
    ['malformed', Buffer.from('')],
    ['malformed', Buffer.from('<project>')],
    ['malformed', Buffer.from('<project></other>')],
    ['malformed', Buffer.from('<html/>')],
    ['malformed', Buffer.from('PK\u0003\u0004')],
    ['limit', Buffer.alloc(4 * 2 ** 20 + 1, ' ')],
    ['limit', Buffer.from(`<project>${'<a>'.repeat(101)}`)]
  ])('is refused as %s', (code, content) => {
    expect(() => pomXml.extract(content)).toThrow(expect.objectContaining({ code }))
  })

  it('expands no entity: a billion laughs stay a few letters', async () => {
    const entities = Array.from({ length: 9 }, (_, at) => `<!ENTITY l${at + 1} "${`&l${at};`.repeat(10)}">`).join('')
    const xml = (doctype: string) => `<?xml version="1.0"?>${doctype}
      <project><groupId>g</groupId><artifactId>a</artifactId><version>1</version>
      <dependencies><dependency><groupId>g</groupId><artifactId>&l9;</artifactId><version>1</version></dependency></dependencies></project>`
    expect(await read(xml(`<!DOCTYPE project [<!ENTITY l0 "lol">${entities}]>`))).toEqual(['declared pkg:maven/g/a@1'])
  })

  it('opens no file and no address that the document names', async () => {
    const xml = `<!DOCTYPE project [<!ENTITY x SYSTEM "file:///etc/hostname"><!ENTITY % y SYSTEM "http://127.0.0.1:1/"> %y;]>
      <project><groupId>g</groupId><artifactId>a</artifactId><version>1&x;</version></project>`
    expect(await read(xml)).toEqual([])
  })

  it('leaves properties alone that lead back to themselves, or grow without end', async () => {
    const xml = (properties: string) =>
      `<project><groupId>g</groupId><artifactId>a</artifactId><version>\${p0}</version><properties>${properties}</properties></project>`
    expect(await read(xml(`<p0>\${p1}</p0><p1>\${p0}</p1>`))).toEqual([])
    expect(await read(xml(`<p0>${`\${p0}`.repeat(10)}</p0>`))).toEqual([])
    const doubling = Array.from({ length: 200 }, (_, at) => `<p${at}>${`\${p${at + 1}}`.repeat(10)}</p${at}>`).join('')
    expect(await read(xml(`${doubling}<p200>1</p200>`))).toEqual([])
    const chain = Array.from({ length: 10 }, (_, at) => `<p${at}>\${p${at + 1}}</p${at}>`).join('')
    expect(await read(xml(`${chain}<p10>1.0</p10>`))).toEqual(['declared pkg:maven/g/a@1.0'])
  })
})
