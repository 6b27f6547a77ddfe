/** Connections run short: nobody hangs, and no use of them keeps another one waiting. */
import { Injectable, Logger } from '@nestjs/common';
import { Command, CommandHandler, type ICommandHandler, type IQueryHandler, Query, QueryHandler } from '@nestjs/cqrs';
import { InjectDataSource } from '@nestjs/typeorm';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ConsistencyChecker, consistencyText, DurableJobs, QueuedCommand, Reads, RowCountRule } from 'nest-tandem';
import { describeServers, sqlBackends, sqlServers } from '../support/backends.js';
import { Account, AccountView, Charge, GetAccount, Open } from '../support/bank.js';
import { type Bank, type BankOptions, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';

/** What waits, in whichever handler, until it is told to go on. */
@Injectable()
class Barrier {
  waiting = 0;
  runs = 0;
  private gate = Promise.resolve();
  open: () => void = () => undefined;
  close(): void {
    this.gate = new Promise((resolve) => (this.open = resolve));
  }
  async pass(dataSource: DataSource): Promise<void> {
    await dataSource.query('SELECT 1'); // so that it has its connection
    this.waiting++;
    this.runs++;
    let isOpen = false;
    const opened = this.gate.then(() => (isOpen = true));
    // A unit in which nothing is sent would be ended.
    while (!isOpen) {
      await Promise.race([opened, sleep(500)]);
      await dataSource.query('SELECT 1');
    }
    this.waiting--;
  }
}

class Block extends Command<void> {}
class BlockQuery extends Query<void> {}
@QueuedCommand('bank.block', { queue: 'blocking', effect: 'sql', concurrency: 8 })
class BlockJob extends Command<void> {}

@CommandHandler(Block)
class BlockHandler implements ICommandHandler<Block> {
  constructor(
    readonly barrier: Barrier,
    @InjectDataSource() readonly dataSource: DataSource,
  ) {}
  execute = () => this.barrier.pass(this.dataSource);
}
@CommandHandler(BlockJob)
class BlockJobHandler implements ICommandHandler<BlockJob> {
  constructor(
    readonly barrier: Barrier,
    @InjectDataSource() readonly dataSource: DataSource,
  ) {}
  execute(): Promise<void> {
    return this.barrier.pass(this.dataSource);
  }
}
@QueryHandler(BlockQuery)
@Reads(AccountView)
class BlockQueryHandler implements IQueryHandler<BlockQuery> {
  constructor(
    readonly barrier: Barrier,
    @InjectDataSource() readonly dataSource: DataSource,
  ) {}
  execute(): Promise<void> {
    return this.barrier.pass(this.dataSource);
  }
}

@Injectable()
class AccountsRule extends RowCountRule {
  constructor() {
    super('accounts', { write: Account, read: AccountView });
  }
}

const patient = { timeout: 60_000, interval: 20 };
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

describe.each(sqlBackends())('a process on $name', (backend) => {
  let place: BankPlace | undefined;
  const started: Bank[] = [];
  const start = async (options: BankOptions = {}): Promise<Bank> => {
    place ??= await bankPlace(backend);
    const bank = await startBank(place, options);
    started.push(bank);
    return bank;
  };
  afterEach(async () => {
    vi.restoreAllMocks();
    for (const { app } of started.splice(0)) await app.close();
    await place?.remove();
    place = undefined;
  });

  it.each(backend.name === 'pglite' ? (['all'] as const) : (['all', 'api', 'worker'] as const))('tells in one line how many connections it may open, as %s', async (role) => {
    const log = vi.spyOn(Logger.prototype, 'log');
    await start({ role });
    const lines = log.mock.calls.map(([line]) => String(line)).filter((line) => line.startsWith('This process opens at most'));
    const bullMq = { all: 16, api: 4, worker: 16 }[role];
    const workers = role === 'api' ? 3 : 4;
    const own = `2 for queries, ${workers} for workers`;
    const outside = 'code outside of units of work';
    if (backend.name === 'pglite')
      expect(lines).toEqual(['This process opens at most 6 connections to the database: 6 for commands and queries and workers and code outside of units of work.']);
    else if (backend.name === 'mariadb')
      expect(lines).toEqual([
        expect.stringMatching(
          `^This process opens at most ${14 + workers} connections to the database: 6 for commands, ${own}, 6 for ${outside}\\. The server takes \\d+, enough for \\d+ such processes\\.$`,
        ),
      ]);
    else if (backend.name === 'mysql')
      expect(lines).toEqual([expect.stringContaining(`${8 + workers} connections to the database: ${own}, 6 for commands and ${outside}. The server takes`)]);
    else
      expect(lines).toEqual([
        expect.stringContaining(`${8 + workers + bullMq} connections to the database: ${own}, 6 for commands and ${outside}, ${bullMq} for BullMQ. The server takes`),
      ]);
  });

  it.runIf(backend.name === 'mysql')('is not troubled by sessions that the server ends because they idle', async () => {
    const [warn, error] = [vi.spyOn(Logger.prototype, 'warn'), vi.spyOn(Logger.prototype, 'error')];
    const bank = await start();
    const burst = (from: number) =>
      Promise.all([
        ...numbers(12).map((n) => bank.commands.execute(new Open(`a${from + n}`))),
        ...numbers(12).map((n) => bank.queries.execute(new GetAccount(`a${n}`))),
        ...numbers(12).map(() => bank.db.getRepository(Account).count()),
      ]);
    await burst(0);
    await bank.idle(60_000);
    const admin = await new DataSource(place!.database!.dataSourceOptions).initialize();
    const sessions = async () => (await admin.query<{ id: unknown }[]>('SELECT id FROM information_schema.processlist WHERE db = DATABASE()')).map(({ id }) => Number(id));
    const before = new Set(await sessions());
    // What looks for work, and the admin's own, are busy.
    await vi.waitFor(async () => expect((await sessions()).filter((id) => before.has(id)).length).toBeLessThan(4), patient);
    await admin.destroy();
    expect(before.size).toBeGreaterThan(8);
    await burst(12);
    await bank.idle(60_000);
    expect((await bank.rows<{ n: unknown }>('SELECT COUNT(*) AS n FROM bank_account_view')).map(({ n }) => Number(n))).toEqual([24]);
    expect([...warn.mock.calls, ...error.mock.calls].map(([line]) => String(line))).toEqual([]);
  });

  it('does everything on one connection', async () => {
    const bank = await start({ poolSize: 1, pools: { commandPoolSize: 0, queryPoolSize: 0, workerPoolSize: 0, acquireTimeoutMs: 60_000 }, providers: [AccountsRule] });
    await Promise.all(numbers(20).map((n) => bank.commands.execute(new Open(`a${n}`))));
    const reads = numbers(20).map((n) => bank.queries.execute(new GetAccount(`a${n}`)));
    await Promise.all([...numbers(20).map((n) => bank.commands.execute(new Charge(`a${n}`, '1'))), ...reads]);
    await bank.idle(60_000);
    expect(consistencyText(await bank.app.get(ConsistencyChecker).check())).toContain('20');
    const views = await bank.rows<{ charges: number }>('SELECT charges FROM bank_account_view');
    expect(views.map(({ charges }) => charges)).toEqual(numbers(20).map(() => 1));
    expect((await bank.rows<{ n: unknown }>('SELECT COUNT(*) AS n FROM bank_letter WHERE count = 1')).map(({ n }) => Number(n))).toEqual([20]);
  });
});

describeServers('pools of a process on $name', sqlServers(), (backend) => {
  let place: BankPlace;
  let bank: Bank;
  let barrier: Barrier;
  const begin = async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: [Barrier, BlockHandler, BlockQueryHandler, BlockJobHandler], jobLeaseMs: 1_500, pools: { acquireTimeoutMs: 30_000 } });
    barrier = bank.app.get(Barrier);
    barrier.close();
  };
  afterEach(async () => {
    barrier.open();
    await bank.app.close();
    await place.remove();
  });

  /** A command, what follows of it in projections and jobs, and a query. */
  const everyday = {
    command: (id: string) => bank.commands.execute(new Open(id)),
    query: (id: string) => bank.queries.execute(new GetAccount(id)),
    projected: (id: string) => vi.waitFor(async () => expect(await bank.queries.execute(new GetAccount(id))).not.toBeNull(), patient),
    jobs: (id: string) => vi.waitFor(() => expect(bank.faults.letters.map(({ accountId }) => accountId)).toContain(id), patient),
  };

  it('a burst of queries keeps no command waiting, and no worker', async () => {
    await begin();
    const burst = numbers(20).map(() => bank.queries.execute(new BlockQuery()));
    await vi.waitFor(() => expect(barrier.waiting).toBe(2), patient); // all of its pool
    await everyday.command('one');
    await everyday.jobs('one');
    await vi.waitFor(async () => expect(await bank.rows('SELECT id FROM bank_account_view')).toHaveLength(1), patient);
    barrier.open();
    await Promise.all(burst);
  });

  it('a burst of commands keeps no query waiting, and no worker', async () => {
    await begin();
    await bank.app.get(DurableJobs).enqueue(new BlockJob());
    await vi.waitFor(() => expect(barrier.waiting).toBe(1), patient);
    const burst = numbers(20).map(() => bank.commands.execute(new Block()));
    await vi.waitFor(() => expect(barrier.waiting).toBe(1 + 6), patient); // all of its pool
    expect(await everyday.query('nobody')).toBeNull();
    barrier.open();
    await Promise.all(burst);
  });

  it('workers that are busy with all of their connections keep no command waiting, no query, and keep their leases', async () => {
    await begin();
    for (const _ of numbers(4)) await bank.app.get(DurableJobs).enqueue(new BlockJob());
    await vi.waitFor(() => expect(barrier.waiting).toBe(4), patient); // all of their pool
    await everyday.command('two');
    expect(await everyday.query('nobody')).toBeNull();
    const lease = async () => (await bank.rows<{ at: Date | string }>("SELECT MIN(run_at) AS at FROM tandem_job WHERE name = 'bank.block'"))[0]!.at;
    const first = new Date(await lease()).getTime();
    await vi.waitFor(async () => expect(new Date(await lease()).getTime()).toBeGreaterThan(first + 1_500), patient);
    barrier.open();
    await everyday.projected('two');
    await bank.idle(60_000);
    expect(barrier.runs).toBe(4);
  });
});
