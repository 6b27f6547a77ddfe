import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Logger } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { DataSource } from 'typeorm';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PGLITE_SNAPSHOT } from '../../../../../test/support/pglite-server.js';
import { JobTransport } from '../../jobs/job-transport.js';
import { postgresJobs } from '../bullmq/bullmq-jobs.js';
import { EmbeddedPostgres, MEMORY } from './embedded-postgres.js';

const eventually = { timeout: 60_000, interval: 20 };
const inMemory = () => new EmbeddedPostgres({ dataDir: MEMORY, snapshotFile: PGLITE_SNAPSHOT });

async function typeOrm(postgres: EmbeddedPostgres): Promise<DataSource> {
  const { user, ...where } = await postgres.config();
  return new DataSource({ type: 'postgres', ...where, username: user, driver: Object.create(pg, { Pool: { value: postgres.Pool } }) as unknown }).initialize();
}

const jobsOn = (postgres: EmbeddedPostgres) => postgresJobs({ label: 'embedded', config: () => postgres.config(), Pool: postgres.Pool, oneSession: true, queuePrefix: 'spec' });

describe('the embedded PostgreSQL in memory', { timeout: 120_000 }, () => {
  it('serves TypeORM and BullMQ at once, and an idle worker gets a job without polling for it', async () => {
    const postgres = inMemory();
    const source = await typeOrm(postgres);
    const module = await Test.createTestingModule({ providers: jobsOn(postgres).providers }).compile();
    await module.init();
    const jobs = module.get(JobTransport);
    const received: string[] = [];
    await jobs.work('mail', 1, ({ id }) => Promise.resolve(void received.push(id)));

    await source.query('CREATE TABLE counted (n INT)');
    await source.query('INSERT INTO counted VALUES (0)');
    const increments = Array.from({ length: 20 }, () => source.transaction((manager) => manager.query('UPDATE counted SET n = n + 1')));
    const tickets = Array.from({ length: 20 }, (_, i) => jobs.add([{ id: `job-${i}`, epoch: 0, queue: 'mail' }]));
    await Promise.all([...increments, ...tickets]);
    expect(await source.query('SELECT n FROM counted')).toEqual([{ n: 20 }]);
    await vi.waitFor(() => expect(received).toHaveLength(20), eventually);

    await source.destroy();
    await module.close();
    await postgres.close();
  });

  it('names application tables that BullMQ would mistake for its own', async () => {
    const postgres = inMemory();
    const source = await typeOrm(postgres);
    await source.query('CREATE TABLE job (id INT)');
    const module = await Test.createTestingModule({ providers: jobsOn(postgres).providers }).compile();
    await expect(module.init()).rejects.toMatchObject({ code: 'TANDEM_WIRING', message: expect.stringContaining('"job"') as string });
    await source.destroy();
    await postgres.close();
  });

  it('keeps its data while the application restarts, until it is closed', async () => {
    const postgres = inMemory();
    const first = await typeOrm(postgres);
    await first.query('CREATE TABLE kept (n INT)');
    await first.destroy();
    const second = await typeOrm(postgres);
    expect(await second.query('SELECT * FROM kept')).toEqual([]);
    await second.destroy();
    await postgres.close();
    const third = await typeOrm(postgres);
    await expect(third.query('SELECT * FROM kept')).rejects.toThrow('does not exist');
    await third.destroy();
    await postgres.close();
  });

  it.skipIf(process.platform === 'win32')('listens where only its own user can connect', async () => {
    const postgres = inMemory();
    const { host } = await postgres.config();
    expect((await stat(host)).mode & 0o777).toBe(0o700);
    await postgres.close();
  });
});

describe('the embedded PostgreSQL in a folder', { timeout: 120_000 }, () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tandem-spec-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('closes when the last pool has ended, and opens again for a pool that connects later', async () => {
    const said = vi.spyOn(Logger.prototype, 'log');
    const postgres = new EmbeddedPostgres({ dataDir: join(folder, 'made') });
    const [one, two] = [new postgres.Pool(await postgres.config()), new postgres.Pool(await postgres.config())];
    await one.query('CREATE TABLE kept (n INT)');
    await one.end();
    await two.query('INSERT INTO kept VALUES (1)');
    await two.end();
    expect(await readdir(join(folder, 'made'))).toEqual(['postgres']);

    const late = new postgres.Pool(await postgres.config());
    expect((await late.query('SELECT n FROM kept')).rows).toEqual([{ n: 1 }]);
    expect(existsSync(join(folder, 'made', 'lock'))).toBe(true);
    await late.end();

    const source = await typeOrm(postgres);
    await source.destroy();
    await source.initialize();
    expect(await source.query('SELECT n FROM kept')).toEqual([{ n: 1 }]);
    await source.destroy();
    expect(said.mock.calls.filter(([line]) => String(line).includes('Building the embedded database'))).toHaveLength(1);
  });

  it('builds anew what a killed first start left unfinished', async () => {
    await writeFile(join(folder, 'postgres-unfinished'), '');
    await writeFile(join(folder, 'postgres'), 'half a database');
    const postgres = new EmbeddedPostgres({ dataDir: folder });
    const pool = new postgres.Pool(await postgres.config());
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await pool.end();
  });

  it('names the folder when it is in use, or is none', async () => {
    const postgres = new EmbeddedPostgres({ dataDir: folder });
    await postgres.config();
    await expect(new EmbeddedPostgres({ dataDir: folder }).config()).rejects.toMatchObject({
      code: 'TANDEM_EMBEDDED_IN_USE',
      message: expect.stringContaining(`${folder} is in use by process ${process.pid}`) as string,
    });
    await postgres.close();

    const file = join(folder, 'file');
    await writeFile(file, '');
    await expect(new EmbeddedPostgres({ dataDir: file }).config()).rejects.toMatchObject({
      code: 'TANDEM_EMBEDDED_UNREADABLE',
      message: expect.stringContaining(file) as string,
    });
  });

  it('has every acknowledged row after kill -9 in the middle of writes, and starts at once', async () => {
    let acknowledged = 0;
    for (let round = 1; round <= 3; round += 1) {
      const enough = acknowledged + 50;
      const writer = spawn(process.execPath, ['test/support/run-typescript.mjs', 'test/support/embedded-writer.ts', folder], { stdio: ['ignore', 'pipe', 'inherit'] });
      writer.stdout.setEncoding('utf8').on('data', (lines: string) => (acknowledged = Number(lines.trimEnd().split('\n').at(-1))));
      await vi.waitFor(() => expect(acknowledged).toBeGreaterThan(enough), { timeout: 50_000, interval: 5 });
      if (round === 1) await expect(new EmbeddedPostgres({ dataDir: folder }).config()).rejects.toMatchObject({ code: 'TANDEM_EMBEDDED_IN_USE' });
      writer.kill('SIGKILL');
      await once(writer, 'close');
    }
    const postgres = new EmbeddedPostgres({ dataDir: folder });
    const pool = new postgres.Pool(await postgres.config());
    const { rows } = await pool.query<{ rows: number; last: number }>('SELECT count(*)::int AS rows, max(n)::int AS last FROM written');
    expect(rows[0]!.rows).toBe(rows[0]!.last);
    expect(rows[0]!.last).toBeGreaterThanOrEqual(acknowledged);
    await pool.end();
  });
});
