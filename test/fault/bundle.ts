import { mkdtemp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Below the repository, so that packages are found from there. */
const FOLDER = join(ROOT, 'node_modules/.cache');

export interface Bundle {
  readonly folder: string;
  readonly main: string;
}

/** The test application and the library's sources as plain JavaScript: the rig starts its processes hundreds of times. */
export async function bundleApplication(): Promise<Bundle> {
  await mkdir(FOLDER, { recursive: true });
  const folder = await mkdtemp(join(FOLDER, 'tandem-fault-'));
  const conditions = ['tandem-source', 'module', 'node', 'development|production'];
  await build({
    root: ROOT,
    configFile: false,
    logLevel: 'error',
    oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
    resolve: { conditions },
    ssr: { noExternal: [/^nest-tandem/], resolve: { conditions } },
    build: {
      ssr: join(ROOT, 'test/fault/application/main.ts'),
      outDir: folder,
      target: 'node20',
      minify: false,
      sourcemap: true,
      rolldownOptions: { output: { format: 'esm', entryFileNames: 'main.mjs', chunkFileNames: '[name]-[hash].mjs' } },
    },
  });
  return { folder, main: join(folder, 'main.mjs') };
}
