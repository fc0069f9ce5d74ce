import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

// Biome does the linting. ESLint is here for the one rule that needs types: the failure of a promise that nobody waits
// for is seen by nobody, or ends the process.
export default defineConfig({
  files: ['**/*.ts'],
  languageOptions: {
    parser: tseslint.parser,
    parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname }
  },
  linterOptions: { reportUnusedDisableDirectives: 'error' },
  plugins: { '@typescript-eslint': tseslint.plugin },
  rules: { '@typescript-eslint/no-floating-promises': 'error' }
})
