/** The library as its users get it: packed, installed with its peers in an empty folder outside of the repository, and started there. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { redisBackend, sqlServers } from '../support/backends.js';

const run = promisify(execFile);
const INSTALL_MS = 240_000;
const CORE = ['@nestjs/common', '@nestjs/core', '@nestjs/cqrs', 'reflect-metadata', 'rxjs'];
const SQL = [...CORE, '@nestjs/typeorm', 'typeorm', 'bullmq'];

interface Manifest {
  readonly version: string;
}

/** The version that this repository is tested with. */
const versionOf = async (name: string): Promise<string> => (JSON.parse(await readFile(resolve('node_modules', name, 'package.json'), 'utf8')) as Manifest).version;

const { registry, redis: redisUrl } = inject('tandemServers');
const redis = redisBackend();

describe.runIf(registry)('the packed library', () => {
  let place: string;
  let tarball: string;

  beforeAll(async () => {
    place = await mkdtemp(join(tmpdir(), 'nest-tandem-'));
    const { stdout } = await run('npm', ['pack', '--workspace', 'libs/tandem', '--pack-destination', place, '--json']);
    tarball = join(place, (JSON.parse(stdout) as [{ filename: string }])[0].filename);
  }, INSTALL_MS);
  afterAll(() => rm(place, { recursive: true, force: true }));

  /** An empty folder with the library and these peers, and nothing else. */
  async function installed(name: string, peers: readonly string[]): Promise<string> {
    const folder = join(place, name);
    await mkdir(folder);
    const dependencies = Object.fromEntries(await Promise.all(peers.map(async (peer) => [peer, await versionOf(peer)] as const)));
    await writeFile(join(folder, 'package.json'), JSON.stringify({ name, private: true, type: 'module', dependencies: { ...dependencies, 'nest-tandem': `file:${tarball}` } }));
    await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional'], { cwd: folder });
    return folder;
  }

  const node = async (folder: string, file: string, env: NodeJS.ProcessEnv = {}): Promise<string> =>
    (await run(process.execPath, ['--enable-source-maps', file], { cwd: folder, env: { ...process.env, ...env } })).stdout;

  /** The application, compiled there against the package's own types. */
  async function compiled(folder: string): Promise<string> {
    await copyFile(join(import.meta.dirname, 'application.ts'), join(folder, 'application.ts'));
    const compilerOptions = {
      target: 'ES2023',
      module: 'nodenext',
      strict: true,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
      skipLibCheck: true,
      types: [],
      lib: ['ES2023', 'DOM'],
    };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['application.ts', 'process.d.ts'] }));
    await writeFile(
      join(folder, 'process.d.ts'),
      'declare const process: { readonly env: Readonly<Record<string, string | undefined>>; readonly stdout: { write(text: string): void } };\n',
    );
    await run(process.execPath, [resolve('node_modules/typescript/bin/tsc'), '-p', folder], { cwd: folder }).catch((error: { stdout?: string }) => {
      throw new Error(`It does not compile there:\n${error.stdout ?? ''}`, { cause: error });
    });
    return 'application.js';
  }

  it('has nothing that publint complains of', async () => {
    const { messages, pkg } = await publint({ pkgDir: resolve('libs/tandem'), strict: true });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it(
    'needs no driver for what needs no database',
    async () => {
      const folder = await installed('core', CORE);
      await writeFile(
        join(folder, 'core.js'),
        `await import('reflect-metadata'); for (const entry of ['', '/ops', '/testing']) await import('nest-tandem' + entry); console.log('loaded');`,
      );
      expect(await node(folder, 'core.js')).toBe('loaded\n');
    },
    INSTALL_MS,
  );

  it(
    'is closed but for its entry points, and brings sources along for its maps',
    async () => {
      const { stdout } = await run('tar', ['tzf', tarball]);
      const files = stdout.split('\n');
      expect(files).toContain('package/src/index.ts');
      expect(files.filter((file) => /\.(spec|fixture)\./.test(file) || file.includes('tsbuildinfo'))).toEqual([]);
      const map = JSON.parse(await readFile(resolve('libs/tandem/dist/kernel/errors.js.map'), 'utf8')) as { sources: string[] };
      expect(map.sources).toEqual(['../../src/kernel/errors.ts']);
    },
    INSTALL_MS,
  );

  it(
    'runs on the embedded default',
    async () => {
      const folder = await installed('embedded', [...SQL, 'pg', '@electric-sql/pglite', '@electric-sql/pglite-socket']);
      expect(await node(folder, await compiled(folder), { ADAPTERS: 'embedded' })).toContain('{"id":"1","text":"from the package"}');
    },
    INSTALL_MS,
  );

  it.runIf(sqlServers().some(({ name }) => name === 'mariadb') && redis)(
    'runs on MySQL and Redis without the drivers of PostgreSQL',
    async () => {
      const folder = await installed('mysql', [...SQL, 'mysql2', 'ioredis']);
      const database = await sqlServers()
        .find(({ name }) => name === 'mariadb')!
        .create();
      const { prefix, cleanUp } = redis!.namespace();
      try {
        const env = { ADAPTERS: 'mysql', DATABASE_URL: database.url, REDIS_URL: redisUrl, QUEUE_PREFIX: prefix.replaceAll('_', '-') };
        expect(await node(folder, await compiled(folder), env)).toContain('{"id":"1","text":"from the package"}');
      } finally {
        await cleanUp();
        await database.drop();
      }
    },
    INSTALL_MS,
  );

  it.runIf(sqlServers().some(({ name }) => name === 'postgres'))(
    'runs on PostgreSQL alone without the drivers of MySQL and Redis',
    async () => {
      const folder = await installed('postgres', [...SQL, 'pg']);
      const database = await sqlServers()
        .find(({ name }) => name === 'postgres')!
        .create();
      try {
        expect(await node(folder, await compiled(folder), { ADAPTERS: 'postgres', DATABASE_URL: database.url })).toContain('{"id":"1","text":"from the package"}');
      } finally {
        await database.drop();
      }
    },
    INSTALL_MS,
  );
});
