// node test/support/run-typescript.mjs FILE.ts [ARGUMENTS]: runs a TypeScript file as vitest would, for tests that need a process of their own to kill.
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runnerImport } from 'vite';

process.argv.splice(1, 1);
const root = fileURLToPath(new URL('../..', import.meta.url));
const conditions = ['tandem-source', 'module', 'node', 'development|production'];
await runnerImport(resolve(process.argv[1]), {
  root,
  configFile: false,
  logLevel: 'error',
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
});
