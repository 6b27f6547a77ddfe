import { defineConfig } from 'vitest/config';

const conditions = ['tandem-source', 'module', 'node', 'development|production'];

export default defineConfig({
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ['libs/**/*.spec.ts', 'apps/**/*.spec.ts', 'test/**/*.spec.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    globalSetup: ['test/support/detect-servers.ts'],
    setupFiles: ['test/support/reflect-metadata.ts'],
    // .ci/run counts from a file; people read the terminal.
    reporters: process.env.TANDEM_TEST_REPORT ? ['default', ['json', { outputFile: process.env.TANDEM_TEST_REPORT }]] : ['default'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
  },
});
