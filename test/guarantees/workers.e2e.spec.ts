/** Several workers on one log, and a queue that is wiped under them. */
import { Redis } from 'ioredis';
import { afterEach, expect, it } from 'vitest';
import { Charge, DirectoryProjection, GetDirectory, GetDirectoryHandler, Open } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { describeServers, redisBackend, sqlServers } from '../support/backends.js';
import { inLanes } from '../support/in-lanes.js';

describeServers('on $name', sqlServers(), (backend) => {
  const started: Bank[] = [];
  let place: BankPlace;
  afterEach(async () => {
    await Promise.all(started.splice(0).map(({ app }) => app.close()));
    await place.remove();
  });
  const start = async (...options: Parameters<typeof startBank>[1][]) => {
    for (const settings of options) started.push(await startBank(place, { poolSize: 5, ...settings }));
    return started;
  };

  it('three workers that share every consumer apply each event once', async () => {
    place = await bankPlace(backend);
    const [api] = await start({ role: 'api' }, { role: 'worker' }, { role: 'worker' }, { role: 'worker' });
    const accounts = Array.from({ length: 30 }, (_, index) => `shared${index}`);
    await inLanes(accounts, 8, (id) => api!.commands.execute(new Open(id)));
    for (let round = 0; round < 10; round++) await inLanes(accounts, 8, (id) => api!.commands.execute(new Charge(id, '0.2500')));
    await api!.idle(60_000);
    expect((await api!.rows<{ charges: number; charged: string }>('SELECT charges, charged FROM bank_totals'))[0]).toEqual({ charges: 300, charged: '75.0000' });
    expect((await api!.rows<{ n: unknown }>('SELECT COUNT(*) AS n FROM bank_account_view WHERE charges = 10')).map(({ n }) => Number(n))).toEqual([30]);
    expect((await api!.rows<{ n: unknown }>('SELECT COUNT(*) AS n FROM bank_letter WHERE count = 1')).map(({ n }) => Number(n))).toEqual([30]);
    const letters = started.flatMap(({ faults }) => faults.letters);
    expect(new Set(letters.map(({ key }) => key)).size).toBe(30);
  });

  it('an immediate projection that older code does not know folds what that code appended first', async () => {
    place = await bankPlace(backend);
    const [older] = await start({ role: 'api', without: [DirectoryProjection, GetDirectoryHandler] }, { role: 'api' });
    const newer = started[1]!;
    await older!.commands.execute(new Open('mixed'));
    await older!.commands.execute(new Charge('mixed', '1'));
    await newer.commands.execute(new Charge('mixed', '1'));
    expect(await newer.queries.execute(new GetDirectory('mixed'))).toMatchObject({ events: 3 });
  });

  it('a new immediate projection has read the whole log, in every shard, before its application serves', async () => {
    place = await bankPlace(backend);
    const [older] = await start({ role: 'api', without: [DirectoryProjection, GetDirectoryHandler] });
    await inLanes(
      Array.from({ length: 90 }, (_, index) => `spread${index}`),
      4,
      (id) => older!.commands.execute(new Open(id)),
    );
    const [, newer] = await start({ role: 'api' });
    expect((await newer!.rows<{ n: unknown }>('SELECT COUNT(*) AS n FROM bank_directory WHERE events = 1')).map(({ n }) => Number(n))).toEqual([90]);
  });

  it('an immediate projection holds an older poisoned event back, and the command goes on', async () => {
    place = await bankPlace(backend);
    const [older] = await start({ role: 'api', without: [DirectoryProjection, GetDirectoryHandler] }, { role: 'api' });
    const newer = started[1]!;
    newer.faults.poisonedDirectory.add('old-poison');
    await older!.commands.execute(new Open('old-poison'));
    await newer.commands.execute(new Charge('old-poison', '1'));
    expect(await newer.queries.execute(new GetDirectory('old-poison'))).toBeNull();
    await expect(newer.idle(2_000)).rejects.toThrow(/bank\.opened of account-old-poison failed 1 times in bank\.directory/);
  });

  it.runIf(backend.dialect === 'mysql' && redisBackend())('a wiped queue loses no job and no event', async () => {
    place = await bankPlace(backend);
    const [api] = await start({ role: 'api' });
    for (let index = 0; index < 20; index++) await api!.commands.execute(new Open(`wiped${index}`));
    const redis = new Redis(place.redisUrl!);
    const keys = await redis.keys(`*${place.queuePrefix}*`);
    expect(keys.length).toBeGreaterThan(0);
    await redis.del(...keys);
    redis.disconnect();
    await start({ role: 'worker' });
    await api!.idle(30_000);
    expect((await api!.rows<{ n: unknown }>('SELECT COUNT(*) AS n FROM bank_letter WHERE count = 1')).map(({ n }) => Number(n))).toEqual([20]);
    expect(started.flatMap(({ faults }) => faults.letters)).toHaveLength(20);
  });
});
