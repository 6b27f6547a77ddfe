/** When consumers run, over a fleet of processes on one database. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sqlBackends } from '../../../../test/support/backends.js';
import { ConsumerFleet, NAME } from '../../../../test/support/consumer-fleet.js';
import { tandemDatabase, type TandemDatabase } from '../../../../test/support/tandem-database.js';
import type { RunCondition } from './run-condition.js';

const HOUR_MS = 60 * 60 * 1_000;
const DAY_MS = 24 * HOUR_MS;
/** More than an hour, and we are in the middle of one: no slot comes by itself while the tests run. */
const SLOT_MS = Math.round(Date.now() / 400_000.5);
const everySlot: RunCondition = { kind: 'scheduled', everyMs: SLOT_MS };
const inBatches = (size: number, maxWaitMs = HOUR_MS): RunCondition => ({ kind: 'batched', size, maxWaitMs });

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe.each(sqlBackends())('on $name, a consumer', (backend) => {
  let db: TandemDatabase;
  let fleet: ConsumerFleet;
  beforeAll(async () => {
    db = await tandemDatabase(backend);
  });
  afterAll(() => db.drop());
  beforeEach(async () => {
    fleet = await ConsumerFleet.begin(db);
  });
  afterEach(() => fleet.end());

  describe('that waits for a batch', () => {
    it('counts over the fleet: ten processes with an event each make a batch of ten', async () => {
      const processes = [];
      for (let i = 0; i < 10; i++) processes.push(await fleet.process({ waitsFor: inBatches(10) }));
      for (const process of processes.slice(0, 9)) await process.append();
      await fleet.looked();
      expect(fleet.sizes).toEqual([]);
      await processes[9]!.append();
      await fleet.untilHandled(10);
      expect(fleet.sizes).toEqual([10]);
    });

    it('does not count what is of other types, and passes it over', async () => {
      const worker = await fleet.process({ waitsFor: inBatches(3) });
      await worker.append(5, 'fleet.other');
      await vi.waitFor(async () => expect((await worker.store.status())[0]).toMatchObject({ lag: 0 }), 60_000);
      await worker.append(2);
      await worker.append(5, 'fleet.other');
      await fleet.looked();
      expect(fleet.sizes).toEqual([]);
      await worker.append();
      await fleet.untilHandled(3);
      expect(fleet.sizes).toEqual([3]);
    });

    it('runs when the oldest has waited long enough, by the clock of the database, whatever a process takes it to be', async () => {
      await fleet.process({ waitsFor: inBatches(100), skewMs: 2 * HOUR_MS });
      const late = await fleet.process({ waitsFor: inBatches(100), skewMs: -2 * HOUR_MS });
      await late.append(2);
      await fleet.looked();
      expect(fleet.sizes).toEqual([]);
      await fleet.later(HOUR_MS);
      await fleet.untilHandled(2);
      expect(fleet.sizes).toEqual([2]);
    });

    it('comes back when the oldest will have waited long enough, without another event, and however rarely the process looks', async () => {
      const worker = await fleet.process({ waitsFor: inBatches(100, 50), reconcileEveryMs: HOUR_MS });
      await worker.append();
      await fleet.untilHandled(1);
      expect(fleet.sizes).toEqual([1]);
    });

    it('drains once it runs', async () => {
      const worker = await fleet.process({ waitsFor: inBatches(250) });
      await worker.append(249);
      await fleet.looked();
      expect(fleet.sizes).toEqual([]);
      await worker.append();
      await fleet.untilHandled(250); // in batches of 100
      expect(fleet.sizes.length).toBeGreaterThanOrEqual(3);
    });

    it('is looked for in one statement by each wake-up, and in none while nothing waits', async () => {
      const worker = await fleet.process({ waitsFor: inBatches(10), reconcileEveryMs: HOUR_MS });
      await worker.append(4);
      await vi.waitFor(() => expect(worker.log.counts).toBeGreaterThan(0));
      expect(worker.log.counts).toBeLessThanOrEqual(fleet.bus.sent.length);
      const quiet = await fleet.process({ waitsFor: inBatches(10) });
      worker.forced.ask(worker.registry.consumers);
      await fleet.untilHandled(4);
      await fleet.looked();
      const before = quiet.log.counts;
      await fleet.looked();
      expect(quiet.log.counts).toBe(before);
    });
  });

  describe('that waits for its schedule', () => {
    it('runs once in a slot, over the fleet, and reads what was recorded before it', async () => {
      const processes = [await fleet.process({ waitsFor: everySlot }), await fleet.process({ waitsFor: everySlot }), await fleet.process({ waitsFor: everySlot })];
      await fleet.looked();
      const first = await fleet.lastRun();
      expect(first!.getTime() % SLOT_MS).toBe(0);
      await processes[0]!.append(3);
      await fleet.looked();
      expect(fleet.sizes).toEqual([]);

      await fleet.later(SLOT_MS);
      await processes[0]!.append(2);
      for (let i = 0; i < 3; i++) await fleet.bus.send([{ consumer: NAME, forced: false, schedule: `every ${SLOT_MS} ms` }]);
      await fleet.untilHandled(3);
      await fleet.looked();
      expect(fleet.sizes).toEqual([3]);
      expect(await fleet.lastRun()).toEqual(first);

      // It is noted in SQL: nobody begins another run, nor does a process that was not there.
      const claims = () => processes.reduce((sum, { store }) => sum + store.claims, 0);
      const before = claims();
      processes.push(await fleet.process({ waitsFor: everySlot }));
      await fleet.bus.send([{ consumer: NAME, forced: false, schedule: `every ${SLOT_MS} ms` }]);
      await fleet.looked();
      expect(claims()).toBe(before);
      await fleet.later(SLOT_MS);
      await fleet.untilHandled(5);
      expect(fleet.sizes).toEqual([3, 2]);
    });

    it('makes one run of the slots that passed while nobody was there', async () => {
      const api = await fleet.process({ waitsFor: everySlot, role: 'api' });
      await fleet.setLastRun(new Date(Math.floor(Date.now() / SLOT_MS) * SLOT_MS));
      for (let i = 0; i < 5; i++) {
        await api.append(2);
        await fleet.later(SLOT_MS);
      }
      await fleet.process({ waitsFor: everySlot });
      await fleet.process({ waitsFor: everySlot });
      await fleet.untilHandled(10);
      await fleet.looked();
      expect(fleet.sizes).toEqual([10]);
    });

    it('runs at its slot without the transport, whose wake-ups get lost, in processes whose clocks are wrong', async () => {
      fleet.bus.losing = true;
      const early = await fleet.process({ waitsFor: everySlot, skewMs: 10 * HOUR_MS });
      await fleet.process({ waitsFor: everySlot, skewMs: -10 * HOUR_MS });
      await fleet.looked();
      await early.append(2);
      await fleet.looked();
      expect(fleet.sizes).toEqual([]);
      await fleet.later(SLOT_MS);
      await fleet.untilHandled(2);
      expect(fleet.sizes).toEqual([2]);
    });

    it('is not done with its slot before it has come to its end', async () => {
      let fails = true;
      const handle = () => {
        if (fails) throw new Error('not now');
      };
      const options = { waitsFor: everySlot, handle, onError: 'halt' } as const;
      const worker = await fleet.process({ ...options, role: 'api' });
      await worker.append();
      await fleet.later(2 * SLOT_MS);
      await fleet.process(options);
      const consumers = worker.consumers;
      await vi.waitFor(async () => expect((await consumers.status())[0]).toMatchObject({ state: 'halted' }), 60_000);
      expect(await fleet.lastRun()).toBeNull();
      fails = false;
      await sqlRetry(db);
      await consumers.resume(NAME);
      await fleet.untilHandled(1);
      await vi.waitFor(async () => expect(await fleet.lastRun()).not.toBeNull(), 60_000);
    });

    it('arranges for wake-ups, and for none of what is not scheduled', async () => {
      await fleet.process({ waitsFor: everySlot });
      expect(fleet.bus.arranged).toEqual({ scheduled: [{ consumer: NAME, schedule: everySlot }], unscheduled: [] });
      await fleet.process();
      expect(fleet.bus.arranged).toEqual({ scheduled: [], unscheduled: [NAME] });
    });

    it('whose wake-up comes of another schedule has its own arranged anew', async () => {
      await fleet.process({ waitsFor: everySlot });
      fleet.bus.arranged = undefined;
      await fleet.bus.send([{ consumer: NAME, forced: false, schedule: 'every 5 ms' }]);
      await vi.waitFor(() => expect(fleet.bus.arranged?.scheduled).toHaveLength(1));
    });

    it('is not woken by events', async () => {
      const worker = await fleet.process({ waitsFor: everySlot });
      await worker.append(3);
      await fleet.looked();
      expect(fleet.bus.sent).toEqual([]);
    });

    it('knows slots of a cron expression in its time zone', async () => {
      // UTC+5:45, and half a day away.
      const hour = (new Date(Date.now() + 5.75 * HOUR_MS).getUTCHours() + 12) % 24;
      const daily: RunCondition = { kind: 'scheduled', cron: `0 ${hour} * * *`, timezone: 'Asia/Kathmandu' };
      const worker = await fleet.process({ waitsFor: daily });
      await fleet.looked();
      const last = (await fleet.lastRun())!;
      expect(last.getTime() % DAY_MS).toBe((hour * HOUR_MS - 5.75 * HOUR_MS + DAY_MS) % DAY_MS);
      await worker.append(2);
      await fleet.looked();
      expect(fleet.sizes).toEqual([]);
      await fleet.later(DAY_MS);
      await fleet.untilHandled(2);
      expect(fleet.sizes).toEqual([2]);
    });
  });

  describe('that waits', () => {
    it.each([inBatches(100), everySlot])('for what is $kind runs at once for somebody who waits for it, in another process', async (waitsFor) => {
      const api = await fleet.process({ waitsFor, role: 'api' });
      const worker = await fleet.process({ waitsFor });
      await fleet.looked();
      await api.append(2);
      await fleet.looked();
      expect(fleet.sizes).toEqual([]);
      api.forced.ask(api.registry.consumers);
      await fleet.untilHandled(2);
      expect(fleet.runs).toEqual([{ by: worker, events: 2 }]);
    });

    it.each([inBatches(100), everySlot])('for what is $kind runs here for somebody who waits for it while the transport is away', async (waitsFor) => {
      const api = await fleet.process({ waitsFor, role: 'api' });
      fleet.bus.away = true;
      await api.append(2);
      api.forced.ask(api.registry.consumers);
      await fleet.untilHandled(2);
      expect(fleet.runs).toEqual([{ by: api, events: 2 }]);
    });

    it('is paused like any other, and goes on when it is resumed', async () => {
      const worker = await fleet.process({ waitsFor: inBatches(3) });
      await worker.consumers.pause(NAME, 'for a test');
      await worker.append(5);
      await fleet.looked();
      expect(fleet.sizes).toEqual([]);
      await worker.consumers.resume(NAME);
      await fleet.untilHandled(5);
    });

    it('is tried again when a held stream is due, though nothing else waits', async () => {
      let failures = 1;
      const handle = () => {
        if (failures-- > 0) throw new Error('not now');
      };
      for (const onError of ['park', 'halt'] as const) {
        failures = 1;
        const another = await ConsumerFleet.begin(db);
        const worker = await another.process({ waitsFor: inBatches(2), onError, handle });
        await worker.append(2);
        await another.untilHandled(2);
        await another.end();
      }
    });

    it('says what it waits for', async () => {
      const worker = await fleet.process({ waitsFor: inBatches(7, 9) });
      expect(await worker.consumers.status()).toMatchObject([{ consumer: NAME, sync: 'batched: 7 events or 9 ms' }]);
    });
  });

  it('may wait for different things in different processes, and runs as soon as one of them says so', async () => {
    const old = await fleet.process();
    const batched = await fleet.process({ waitsFor: inBatches(100) });
    const scheduled = await fleet.process({ waitsFor: everySlot });
    await fleet.looked();
    for (const process of [batched, scheduled, old]) await process.append(2);
    await fleet.untilHandled(6);
    await old.stop();
    await batched.append(2);
    await fleet.looked();
    expect(fleet.handled).toBe(6);
    scheduled.forced.ask(scheduled.registry.consumers);
    await fleet.untilHandled(8);
  });
});

/** As an operator does. */
async function sqlRetry({ dataSource, tables }: TandemDatabase): Promise<void> {
  await dataSource.query(`UPDATE ${tables.deadLetter} SET state = 'retrying', attempts = 0`);
}
