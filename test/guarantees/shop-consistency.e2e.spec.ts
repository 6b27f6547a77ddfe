/** The shop's own rule, checked while users are being created, and after somebody has touched the read table. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type INestApplicationContext, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CommandBus } from '@nestjs/cqrs';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ConsistencyChecker, consistencyText, SyncStrategy, TandemModule } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { tandem } from 'nest-tandem/testing';
import { tandemDataSource, tandemMigrations, typeOrmStorage } from 'nest-tandem/typeorm';
import { CreateUser, shopEntities, shopMigrations, ShopModule } from 'shop';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BankPlace, bankPlace } from '../support/bank-application.js';
import { sqlBackends } from '../support/backends.js';

/** None of the later two would run by itself while a test lasts: the checker runs them. */
const STRATEGIES = {
  eventual: SyncStrategy.eventual(),
  batched: SyncStrategy.batched(100_000, { maxWaitMs: 3_600_000 }),
  scheduled: SyncStrategy.scheduled({ everyMs: 3_600_000 }),
};
const cases = sqlBackends().flatMap((backend) => Object.entries(STRATEGIES).map(([strategy, sync]) => ({ backend, strategy, sync, name: backend.name })));

describe.each(cases)('the shop on $name, with users read by a projection that is $strategy', ({ backend, sync }) => {
  let place: BankPlace;
  let outboxDir: string;
  let app: INestApplicationContext;

  beforeAll(async () => {
    place = await bankPlace(backend);
    outboxDir = await mkdtemp(join(tmpdir(), 'tandem-outbox-'));
    const useFactory = async (): Promise<DataSourceOptions> => ({
      ...(place.embedded ? await place.embedded.typeOrmOptions() : place.database!.dataSourceOptions),
      entities: shopEntities,
      migrations: [...tandemMigrations(), ...shopMigrations],
      migrationsRun: true,
    });
    const storage = place.embedded?.storage ?? typeOrmStorage();
    const jobs = place.embedded?.jobs ?? bullMqJobs({ connection: place.redisUrl ?? { postgres: place.database!.url }, queuePrefix: place.queuePrefix });

    @Module({
      imports: [
        TypeOrmModule.forRootAsync({ useFactory, dataSourceFactory: tandemDataSource }),
        TandemModule.forRoot({ storage, jobs, interceptors: [], syncStrategies: { 'users.user-view': sync } }),
        ShopModule.forRoot({ outboxDir }),
      ],
    })
    class ShopApplication {}
    app = await NestFactory.createApplicationContext(ShopApplication, { logger: ['error'], abortOnError: false });
  });
  afterAll(async () => {
    await app?.close();
    await place.remove();
    await rm(outboxDir, { recursive: true, force: true });
  });

  it('counts as many users on both sides at any moment, and finds the one that is missing', async () => {
    const commands = app.get(CommandBus);
    const checker = app.get(ConsistencyChecker);
    let creating = true;
    const traffic = Promise.all(
      [0, 1, 2].map(async (lane) => {
        for (let i = 0; i < 15; i++) await commands.execute(new CreateUser(`u-${lane}-${i}`, 'Somebody', `u-${lane}-${i}@example.com`));
      }),
    ).finally(() => (creating = false));
    let checks = 0;
    do {
      const report = await checker.check();
      expect(report, consistencyText(report)).toMatchObject({ consistent: true, rules: [{ name: 'users.count', difference: 0 }] });
      checks++;
    } while (creating);
    await traffic;
    await tandem(app).idle({ timeoutMs: 60_000 });
    expect(await checker.check()).toMatchObject({ consistent: true, rules: [{ write: 45, read: 45 }] });
    expect(checks).toBeGreaterThan(1);

    await app.get(DataSource).query("DELETE FROM shop_user_view WHERE id = 'u-1-3'");
    expect(await checker.check()).toMatchObject({ consistent: false, rules: [{ name: 'users.count', write: 45, read: 44, difference: 1 }] });
  });
});
