import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Injectable, Module, type OnApplicationShutdown } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { describe, expect, it, vi } from 'vitest';
import { JobTransport } from '../../jobs/job-transport.js';
import { embedded } from './embedded.js';

const eventually = { timeout: 60_000, interval: 20 };

async function start(dataDir: string) {
  const place = embedded({ dataDir });

  @Injectable()
  class LastWords implements OnApplicationShutdown {
    said?: unknown;
    constructor(private readonly source: DataSource) {}
    async onApplicationShutdown() {
      this.said = await this.source.query('SELECT 1 AS one');
    }
  }
  @Module({
    imports: [TypeOrmModule.forRootAsync({ useFactory: () => place.typeOrmOptions() })],
    providers: [...place.jobs.providers, LastWords],
  })
  class App {}

  const app = await NestFactory.createApplicationContext(App, { logger: false, abortOnError: false });
  return { app, source: app.get(DataSource), jobs: app.get(JobTransport), words: app.get(LastWords) };
}

describe('an application on the embedded default', { timeout: 120_000 }, () => {
  it('keeps rows and jobs over a restart, and leaves the folder free once it has closed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tandem-spec-'));
    const first = await start(folder);
    await first.source.query('CREATE TABLE kept (n INT)');
    await first.source.query('INSERT INTO kept VALUES (7)');
    await first.jobs.add([{ id: 'kept', epoch: 3, queue: 'mail' }]);
    await expect(embedded({ dataDir: folder }).typeOrmOptions()).rejects.toMatchObject({ code: 'TANDEM_EMBEDDED_IN_USE' });
    await first.app.close();
    expect(first.words.said).toEqual([{ one: 1 }]);

    const second = await start(folder);
    const received: unknown[] = [];
    await second.jobs.work('mail', 1, (ticket) => Promise.resolve(void received.push(ticket)));
    expect(await second.source.query('SELECT n FROM kept')).toEqual([{ n: 7 }]);
    await vi.waitFor(() => expect(received).toEqual([{ id: 'kept', epoch: 3, queue: 'mail' }]), eventually);
    await second.app.close();
    await rm(folder, { recursive: true });
  });

  it('says what it is', () => {
    const { storage, jobs } = embedded({ dataDir: 'memory://' });
    expect([storage.port, storage.describe, jobs.port, jobs.describe]).toEqual(['storage', 'embedded PostgreSQL', 'jobs', 'BullMQ on the embedded PostgreSQL']);
  });
});
