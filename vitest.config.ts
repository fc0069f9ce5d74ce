import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    environment: 'node',
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'scripts/**/*.test.ts', 'bin/**/*.test.ts'],
    setupFiles: ['test/loopback-only.ts'],
    // Two cores are what CI and most laptops under load have to give; more workers only make the slow tests time out.
    maxWorkers: 2,
    testTimeout: 20_000 + Number(process.env.SOAK_SECONDS ?? 0) * 1_000,
    hookTimeout: 30_000,
    // A test that is left focused would let CI pass without the others.
    allowOnly: false,
    restoreMocks: true,
    unstubEnvs: true
  }
})
