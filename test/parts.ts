/**
 * A part of the world that tests need and a machine may lack: a registry, a database. Where it is missing, its tests are
 * skipped and a line says so; with `REQUIRE_ALL_PARTS=1`, as CI sets it, the file fails: a part that has gone missing
 * must not look like tests that passed.
 *
 *     const url = requirePart('docker-registry', process.env.DOCKER_REGISTRY_URL)
 *     describe.skipIf(url === null)('…', () => { … })
 *
 * @param name for people.
 * @param value where the part is, as an environment variable says; empty counts as missing.
 * @returns the value, or null where the tests are to be skipped.
 */
export function requirePart(name: string, value: string | undefined): string | null {
  if (value !== undefined && value !== '') return value
  if (process.env.REQUIRE_ALL_PARTS === '1') {
    throw new Error(`${name} is missing, and REQUIRE_ALL_PARTS=1 says that every part must be there`)
  }
  process.stderr.write(`skipped: the tests against ${name}, which is not there\n`)
  return null
}
