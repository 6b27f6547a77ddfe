import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
import { wholeBatches } from '../../libs/tandem/src/adapters/embedded/whole-batches.js';

const packageJson = join(dirname(createRequire(import.meta.url).resolve('@electric-sql/pglite')), '../package.json');
const { version } = JSON.parse(readFileSync(packageJson, 'utf8')) as { version: string };

/** An empty database as it is after the first start, which takes seconds: made once per version of PGlite. */
export const PGLITE_SNAPSHOT = fileURLToPath(new URL(`../../node_modules/.cache/tandem/pglite-${version}.tar`, import.meta.url));

export interface PgliteServer {
  readonly url: string;
  readonly db: PGlite;
  stop(): Promise<void>;
}

/** An in-memory PGlite that takes connections on a free port of 127.0.0.1. */
export async function startPglite(): Promise<PgliteServer> {
  const db = await openFromSnapshot();
  const server = new PGLiteSocketServer({ db: wholeBatches(db), host: '127.0.0.1', port: 0, maxConnections: 200 });
  await server.start();
  return {
    url: `postgres://postgres:postgres@${server.getServerConn()}/postgres?sslmode=disable`,
    db,
    async stop() {
      await server.stop();
      await db.close();
    },
  };
}

async function openFromSnapshot(): Promise<PGlite> {
  if (existsSync(PGLITE_SNAPSHOT)) return PGlite.create({ loadDataDir: new Blob([await readFile(PGLITE_SNAPSHOT)]) });
  const db = await PGlite.create();
  const snapshot = await db.dumpDataDir('none');
  await mkdir(dirname(PGLITE_SNAPSHOT), { recursive: true });
  const own = `${PGLITE_SNAPSHOT}.${randomBytes(4).toString('hex')}`; // several test files may get here at once
  await writeFile(own, Buffer.from(await snapshot.arrayBuffer()));
  await rename(own, PGLITE_SNAPSHOT);
  return db;
}
