import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { Environment } from './environment.js';
import { configureHttp } from './http.js';
import { describePlatform } from './platform.js';
import { CannotStart, type Closable } from './process-life.js';
import { ShopApplicationModule } from './shop-application.module.js';
import { ShopLogger } from './shop-logger.js';
import { startUpMessage } from './start-up-message.js';

/** Log lines wait until the application runs: one that cannot start says one line only. */
const QUIET_START = { bufferLogs: true, autoFlushLogs: false, abortOnError: false } as const;
const LOOK_EVERY_MS = 200;

/** The API, with the workers in the same process when the role is `all`. */
export async function startApi(environment: Environment): Promise<Closable> {
  await portIsFree(environment);
  const app = await announcing(environment, () => NestFactory.create<NestExpressApplication>(ShopApplicationModule.forRoot(environment), { ...QUIET_START, bodyParser: false }));
  try {
    configureHttp(app);
    await app.listen(environment.port, environment.host);
  } catch (error) {
    await app.close().catch(() => undefined); // the first error is the one to tell
    throw error;
  }
  app.useLogger(new ShopLogger(environment.logLevel));
  app.flushLogs();
  const { port } = (app.getHttpServer() as { address(): { port: number } }).address();
  process.stdout.write(startUpMessage(environment, port, describePlatform(environment)));
  return app;
}

/** Projections, sagas and jobs without HTTP, beside APIs on the same servers. */
export async function startWorker(environment: Environment): Promise<Closable> {
  const app = await startContext(environment);
  process.stdout.write(`Tandem shop worker runs on ${describePlatform(environment)}\n`);
  return app;
}

/** The application without HTTP, in whatever role the environment says. */
export async function startContext(environment: Environment): Promise<INestApplicationContext> {
  const app = await announcing(environment, () => NestFactory.createApplicationContext(ShopApplicationModule.forRoot(environment), QUIET_START));
  app.useLogger(new ShopLogger(environment.logLevel));
  app.flushLogs();
  return app;
}

/** Says why it takes so long, once the database is really being built: a start that fails says one line only. */
async function announcing<T>({ databaseUrl, dataDir }: Environment, start: () => Promise<T>): Promise<T> {
  const isBuilt = () => existsSync(join(dataDir, 'postgres'));
  if (databaseUrl !== undefined || isBuilt()) return start();
  const timer = setInterval(() => {
    if (!isBuilt()) return;
    clearInterval(timer);
    process.stderr.write(`First start: the database is being built in ${dataDir}, which takes a few seconds.\n`);
  }, LOOK_EVERY_MS);
  try {
    return await start();
  } finally {
    clearInterval(timer);
  }
}

/** Asked first, because building an application that then cannot listen takes seconds. @throws the error of `listen` */
async function portIsFree({ port, host }: Environment): Promise<void> {
  if (port === 0) return;
  const probe = createServer();
  try {
    await new Promise<void>((resolve, reject) => probe.once('error', reject).listen(port, host, resolve));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTFOUND') throw new CannotStart('HOST is not an address of this machine.');
    throw error;
  }
  await new Promise((resolve) => probe.close(resolve));
}
