import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends } from '../../../../test/support/backends.js';
import { type CalledTransport, type RuntimeUnderTest, runtimeUnderTest } from '../../../../test/support/job-runtime-under-test.js';
import type { TandemDatabase } from '../../../../test/support/tandem-database.js';
import { sqlOf } from '../adapters/typeorm/sql.js';
import type { SqlJobStore } from '../adapters/typeorm/sql-job-store.js';
import { currentMessage, nextMessage, runWithMessage } from '../kernel/message-context.js';
import type { Unit } from '../kernel/unit-of-work.js';
import { noteEffect } from './job-effect.js';
import type { JobTicket } from './job-store.js';
import { QueuedCommand } from './queued-command.js';

@QueuedCommand('spec.count', { queue: 'spec', effect: 'sql', attempts: 2, backoffMs: 0 })
class Count {}
@QueuedCommand('spec.hurried', { queue: 'spec', effect: 'sql', attempts: 2, backoffMs: 0, timeoutMs: 1_000 })
class Hurried {}
@QueuedCommand('spec.call', { queue: 'spec', effect: 'external', attempts: 2, backoffMs: 0, timeoutMs: 5_000 })
class Call {}
@QueuedCommand('spec.write', { queue: 'spec', effect: 'sql', attempts: 1, timeoutMs: 20_000 })
class Write {}
@QueuedCommand('spec.newer', { queue: 'spec', effect: 'sql', attempts: 2 })
class Newer {}

@QueuedCommand('spec.step', { queue: 'spec', effect: 'sql', attempts: 2, backoffMs: 0, timeoutMs: 5_000, sequenceBy: () => 'order-1' })
class Step {}

const LEASE_MS = 600;
const until = (condition: () => Promise<boolean>) => vi.waitFor(async () => expect(await condition()).toBe(true), { timeout: 10_000, interval: 10 });

describe.each(sqlBackends())('JobRuntime on $name', (backend) => {
  let subject: RuntimeUnderTest;
  let db: TandemDatabase;
  let store: SqlJobStore;
  let transport: CalledTransport;

  beforeEach(async () => {
    subject = await runtimeUnderTest(backend, { commands: [Count, Hurried, Call, Step, Write], jobLeaseMs: LEASE_MS });
    ({ db, store, transport } = subject);
  });
  afterEach(() => subject.end());

  const insert = async (command: object): Promise<JobTicket> => (await subject.insert(command))[0]!;
  const jobs = () => subject.jobs();
  const effects = () => subject.effects();

  it('a handler that goes on after its time is up changes nothing', async () => {
    let goOn!: () => void;
    let late: Promise<unknown> | undefined;
    const waiting = new Promise<void>((resolve) => (goOn = resolve));
    const ticket = await insert(new Hurried());
    subject.execute = () => {
      const first = late === undefined;
      const run = (async () => {
        if (first) await waiting;
        await db.units.run(async (unit) => {
          await sqlOf(unit).query('INSERT INTO effect VALUES (1)');
          noteEffect(unit, ticket.id);
        });
      })();
      late ??= run;
      return run;
    };
    await transport.handler(ticket);
    expect(await jobs()).toEqual([{ state: 'waiting', attempts: 1, epoch: 1 }]);
    goOn();
    await expect(late).rejects.toMatchObject({ code: 'TANDEM_JOB_STALE' });
    expect(await effects()).toBe(0);
    await transport.handler({ ...ticket, epoch: 1 });
    expect(await jobs()).toEqual([{ state: 'done', attempts: 2, epoch: 2 }]);
    expect(await effects()).toBe(1);
  });

  it('a unit that the run opens beside the handler does not settle the job', async () => {
    let settledBeside: boolean | undefined;
    subject.execute = async () => {
      await db.units.run((unit) => sqlOf(unit).query('INSERT INTO effect VALUES (1)'));
      settledBeside = (await jobs())[0]!.state === 'done';
      throw new Error('the handler itself fails');
    };
    await transport.handler(await insert(new Count()));
    expect(settledBeside).toBe(false);
    expect(await jobs()).toEqual([{ state: 'waiting', attempts: 1, epoch: 1 }]);
  });

  it('a command of its own inside the handler does not settle the job', async () => {
    let settledInside: boolean | undefined;
    subject.execute = async () => {
      const own = nextMessage();
      const work = async (unit: Unit) => {
        await sqlOf(unit).query('INSERT INTO effect VALUES (1)');
        noteEffect(unit, own.messageId);
      };
      await runWithMessage(own, () => db.units.run(work));
      settledInside = (await jobs())[0]!.state === 'done';
    };
    await transport.handler(await insert(new Count()));
    expect(settledInside).toBe(false);
    expect(await jobs()).toEqual([{ state: 'done', attempts: 1, epoch: 1 }]);
  });

  it('a job whose process dies each time is parked when its attempts are used up', async () => {
    subject.execute = vi.fn(async () => undefined);
    let ticket = await insert(new Call());
    for (let run = 0; run < 2; run++) {
      ticket = (await store.claim(ticket, LEASE_MS))!;
      await subject.leasesRunOut();
    }
    await transport.handler(ticket);
    expect(subject.execute).not.toHaveBeenCalled();
    expect(await store.list('parked', 10)).toMatchObject([{ attempts: 3, lastError: expect.stringContaining('was begun 2 times') }]);
  });

  it('a command that this version of the code lacks is given back, and no attempt is lost', async () => {
    await transport.handler(await insert(new Newer()));
    expect(await jobs()).toEqual([{ state: 'waiting', attempts: 0, epoch: 1 }]);
  });

  it('a command that this version lacks comes again when the database was away as it was given back', async () => {
    const said = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const fail = vi.spyOn(store, 'fail');
    vi.spyOn(store, 'giveBack').mockRejectedValueOnce(new Error('database away'));
    const ticket = await insert(new Newer());
    await transport.handler(ticket);
    expect(fail).not.toHaveBeenCalled();
    expect(said.mock.calls.map(([line]) => line)).toContain(`Job ${ticket.id} could not be settled and comes again: Error: database away`);
    said.mockRestore();
    await subject.leasesRunOut();
    await transport.handler({ ...ticket, epoch: 1 });
    expect(await jobs()).toEqual([{ state: 'waiting', attempts: 1, epoch: 2 }]);
  });

  it('one that still runs when the worker has to stop is handed back: its signal aborts, no attempt is lost, and its late end changes nothing', async () => {
    const said = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const added = vi.spyOn(transport, 'add');
    let goOn!: () => void;
    const late = new Promise<void>((resolve) => (goOn = resolve));
    const write = await insert(new Write());
    const aborted = (signal: AbortSignal) => new Promise<never>((_, reject) => (signal.onabort = () => reject(new Error('aborted'))));
    subject.execute = async (command) => {
      if (command instanceof Call) return aborted(currentMessage()!.signal!);
      await late;
      return db.units.run(async (unit) => {
        await sqlOf(unit).query('INSERT INTO effect VALUES (1)');
        noteEffect(unit, write.id);
      });
    };
    const call = await insert(new Call());
    const runs = [transport.handler(write), transport.handler(call)];
    await until(async () => (await jobs()).every(({ state }) => state === 'running'));
    await subject.runtime.stop(0);
    expect(await jobs()).toEqual([0, 1].map(() => ({ state: 'waiting', attempts: 0, epoch: 1 })));
    expect((await store.due(['spec'], 0, 10)).map(({ id }) => id).toSorted()).toEqual([write.id, call.id].toSorted());
    expect(added.mock.calls.flatMap(([tickets]) => tickets.map(({ id, epoch }) => `${id} ${epoch}`)).toSorted()).toEqual([`${write.id} 1`, `${call.id} 1`].toSorted());
    goOn();
    await Promise.all(runs);
    expect(await effects()).toBe(0);
    expect(said.mock.calls.map(([line]) => String(line)).toSorted()).toEqual([write, call].map(({ id }) => `Job ${id}: its worker was stopped before it ended`).toSorted());
    expect(await jobs()).toEqual([0, 1].map(() => ({ state: 'waiting', attempts: 0, epoch: 1 })));
  });

  it('sends the next job of a sequence as soon as the first has ended, and not when it only failed', async () => {
    const [first, second] = [await insert(new Step()), await insert(new Step())];
    subject.execute = async () => undefined;
    const [ticket] = await store.release(['order-1']);
    expect(ticket).toMatchObject({ id: first.id });
    subject.execute = () => Promise.reject(new Error('not yet'));
    await transport.handler(ticket!);
    expect(transport.added.map(({ id, epoch }) => [id, epoch])).toEqual([[first.id, 1]]);
    subject.execute = async () => undefined;
    await transport.handler(transport.added[0]!);
    expect(transport.added.slice(1).map(({ id, epoch }) => [id, epoch])).toEqual([[second.id, 0]]);
  });

  it('keeps the lease of a second run when the first, which was overtaken, ends', async () => {
    const ends: (() => void)[] = [];
    subject.execute = () => new Promise<void>((resolve) => void ends.push(resolve));
    const ticket = await insert(new Call());
    const first = transport.handler(ticket);
    await until(async () => ends.length === 1);
    await subject.leasesRunOut();
    const second = transport.handler({ ...ticket, epoch: 1 });
    await until(async () => ends.length === 2);
    ends[0]!();
    await first;
    await subject.leasesRunOut();
    await until(async () => (await store.due(['spec'], 0, 10)).length === 0);
    ends[1]!();
    await second;
    expect(await jobs()).toEqual([{ state: 'done', attempts: 2, epoch: 2 }]);
  });
});
