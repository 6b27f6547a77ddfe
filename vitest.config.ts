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
    // A shared machine may be ten times slower than usual; a test that hangs is still found.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    teardownTimeout: 20_000,
  },
});
