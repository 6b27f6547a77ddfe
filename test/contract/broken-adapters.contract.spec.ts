/** A contract is worth what it notices: adapters that break one rule each, and the case that says so. */
import { AssertionError } from 'node:assert/strict';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SqlConsumerStore } from '../../libs/tandem/src/adapters/typeorm/sql-consumer-store.js';
import { SqlDeadLetterStore } from '../../libs/tandem/src/adapters/typeorm/sql-dead-letter-store.js';
import { SqlEventLog } from '../../libs/tandem/src/adapters/typeorm/sql-event-log.js';
import { SqlJobStore } from '../../libs/tandem/src/adapters/typeorm/sql-job-store.js';
import { TypeOrmUnitOfWork } from '../../libs/tandem/src/adapters/typeorm/typeorm-unit-of-work.js';
import type { Checkpoint, ConsumerRegistration } from '../../libs/tandem/src/events/consumer-store.js';
import { Clock } from '../../libs/tandem/src/kernel/clock.js';
import type { Unit } from '../../libs/tandem/src/kernel/unit-of-work.js';
import { consumerContract } from '../../libs/tandem/src/testing/contract/consumer-contract.js';
import type { ContractCase, Open } from '../../libs/tandem/src/testing/contract/contract-case.js';
import { eventLogContract } from '../../libs/tandem/src/testing/contract/event-log-contract.js';
import { jobContract } from '../../libs/tandem/src/testing/contract/job-contract.js';
import { unitOfWorkContract } from '../../libs/tandem/src/testing/contract/unit-of-work-contract.js';
import { sqlBackends } from '../support/backends.js';
import { contractRows } from '../support/contract-rows.js';
import { emptyTandem, tandemDatabase, type TandemDatabase } from '../support/tandem-database.js';

const backend = sqlBackends().at(-1)!;

describe(`broken adapters on '${backend.name}'`, () => {
  let db: TandemDatabase;
  let table: Awaited<ReturnType<typeof contractRows>>;
  beforeAll(async () => {
    db = await tandemDatabase(backend);
    table = await contractRows(db.dataSource);
  });
  afterAll(() => db.drop());

  /** Everything as it should be. */
  const sound = async () => {
    await Promise.all([emptyTandem(db), table.empty()]);
    return {
      ...{ units: new TypeOrmUnitOfWork(db.dataSource, new Clock()), rows: table.rows },
      log: new SqlEventLog(db.dataSource, db.tables),
      consumers: new SqlConsumerStore(db.dataSource, db.tables),
      letters: new SqlDeadLetterStore(db.dataSource, db.tables),
      jobs: new SqlJobStore(db.dataSource, db.tables),
    };
  };
  type Sound = Awaited<ReturnType<typeof sound>>;
  type Broken = Partial<{ [K in keyof Sound]: Partial<Sound[K]> }>;

  const broken = (breaking: (all: Sound) => Broken) => async (): Promise<Sound> => {
    const all = await sound();
    const parts = breaking(all);
    // What it does not break it has from the sound one.
    return Object.fromEntries(Object.entries(all).map(([name, part]) => [name, Object.assign(Object.create(part) as object, parts[name as keyof Sound])])) as Sound;
  };

  /** Something takes a second transaction where it should not: that hangs where there can be only one. */
  const second = { skip: backend.name === 'pglite' };
  const apart = <T>({ units }: Sound, work: (unit: Unit) => Promise<T>): Promise<T> => units.outside(() => units.run(work, { kind: 'consumer' }));

  function notices(rule: string, by: string, of: readonly [(open: Open<Sound>) => readonly ContractCase[], (all: Sound) => Broken], { skip } = { skip: false }): void {
    it.skipIf(skip)(`${rule}: "${by}"`, async () => {
      const [contract, breaking] = of;
      const find = (open: Open<Sound>): ContractCase => contract(open).find(({ name }) => name === by)!;
      await expect(find(broken(breaking)).run()).rejects.toBeInstanceOf(AssertionError);
      await find(broken(() => ({}))).run();
    });
  }

  describe('an event log', () => {
    notices('does not check expected versions', 'append refuses another version than the expected one, and leaves no trace', [
      eventLogContract,
      ({ log }) => ({ log: { append: (unit, events) => log.append(unit, events.map((event) => ({ ...event, expected: 'any' }))) } }), // prettier-ignore
    ]);
    notices('ends a stream with its first page', 'a stream of any length is read to its end, inside a unit with what that unit has appended', [
      eventLogContract,
      ({ log }) => ({ log: { readStream: (tenant, stream, read) => log.readStream(tenant, stream, { limit: 500, ...read }) } }),
    ]);
    notices('reads a stream in two statements', 'a stream that is read under many writers has no hole, and what was read once is there again', [
      eventLogContract,
      ({ log }) => ({
        log: {
          readStream: async (...read) => {
            const [earlier, later] = [await log.readStream(...read), await log.readStream(...read)];
            const byVersion = new Map(
              [...earlier.filter(({ version }) => version % 2 > 0), ...later.filter(({ version }) => version % 2 === 0)].map((event) => [event.version, event]),
            );
            return later.flatMap(({ version }) => byVersion.get(version) ?? []);
          },
        },
      }),
    ]);
    notices('reads a stream across tenants', 'append keeps tenants apart: their streams of one name have versions of their own', [
      eventLogContract,
      ({ log }) => ({ log: { readStream: (_tenant, stream, read) => log.readStream('', stream, read) } }),
    ]);
    notices(
      'commits by itself',
      'nothing is seen of a unit that is rolled back, nor does it take numbers',
      [eventLogContract, (all) => ({ log: { append: (_unit, events) => apart(all, (unit) => all.log.append(unit, events)) } })],
      second,
    );
  });

  describe('a unit of work', () => {
    notices('takes no savepoint', 'a unit in a unit that fails and is caught undoes its own part: rows, lists and tasks', [
      unitOfWorkContract,
      ({ units }) => ({ units: { run: (work, options) => (units.current ? work(units.current) : units.run(work, options)) } }),
    ]);
    notices('commits although its work failed', 'a unit whose work throws leaves nothing, and throws what the work threw', [
      unitOfWorkContract,
      ({ units }) => ({
        units: {
          run: async <T>(work: (unit: Unit) => Promise<T>) => {
            const outcome = await units.run((unit) => Promise.allSettled([work(unit)]));
            if (outcome[0].status === 'rejected') throw outcome[0].reason;
            return outcome[0].value;
          },
        },
      }),
    ]);
    notices('runs its tasks before COMMIT', 'tasks run after the outermost COMMIT, in order and in no unit, and see what was committed', [
      unitOfWorkContract,
      ({ units }) => ({ units: { run: (work, options) => units.run((unit) => work(Object.assign(unit, { afterCommit: (task: () => unknown) => void task() })), options) } }),
    ]);
    notices('lets a snapshot write', 'a snapshot refuses writes', [unitOfWorkContract, ({ units }) => ({ units: { run: (work) => units.run(work) } })]);
    notices(
      'is not joined by what the application writes',
      'a unit whose work throws leaves nothing, and throws what the work threw',
      [unitOfWorkContract, ({ units, rows }) => ({ rows: { insert: (key) => units.outside(() => rows.insert(key)) } })],
      second,
    );
  });

  describe('a consumer store', () => {
    notices('forgets types of other versions of the code', 'registering is idempotent: types are the union of all versions of the code, checkpoints stay', [
      consumerContract,
      ({ consumers }) => {
        let last: readonly ConsumerRegistration[] = [];
        return {
          consumers: {
            register: (registrations) => consumers.register((last = registrations)),
            claim: async (unit, request) => {
              const found = await consumers.claim(unit, request);
              return found && { ...found, types: last[0]!.types };
            },
          },
        };
      },
    ]);
    notices('moves checkpoints too far', 'batches keep to their budgets of events and bytes, and read on where the last one ended', [
      consumerContract,
      ({ consumers }) => {
        const further = (at: Checkpoint): Checkpoint => ({ ...at, seq: at.seq + 1, eventId: null });
        return { consumers: { advance: (unit, claim, checkpoints) => consumers.advance(unit, claim, checkpoints.map(further)) } }; // prettier-ignore
      },
    ]);
    notices(
      'locks nothing',
      'claims exclude each other: a worker skips what another batch holds',
      [consumerContract, (all) => ({ consumers: { claim: (_unit, request) => apart(all, (unit) => all.consumers.claim(unit, request)) } })],
      second,
    );
    notices(
      'locks nothing at work',
      'many workers that are killed at any moment give each event its effect once, in version order',
      [consumerContract, (all) => ({ consumers: { claim: (_unit, request) => apart(all, (unit) => all.consumers.claim(unit, request)) } })],
      second,
    );
    notices(
      'keeps checkpoints outside of the batch’s transaction',
      'what a batch advanced is undone when it is rolled back, and its claim is free',
      [
        consumerContract,
        (all) => ({
          consumers: {
            claim: (_unit, request) => apart(all, (unit) => all.consumers.claim(unit, request)),
            advance: (_unit, claim, checkpoints) => apart(all, (unit) => all.consumers.advance(unit, claim, checkpoints)),
          },
        }),
      ],
      second,
    );
  });

  describe('a dead letter store', () => {
    notices('does not tell what is held', 'a failed event holds back its own stream, whether the failure names it or not', [
      consumerContract,
      () => ({ letters: { held: async () => [] } }),
    ]);
    notices('calls everything due', 'what is retrying is due when its time has come, what is parked is not', [
      consumerContract,
      ({ letters }) => ({ letters: { list: (filter) => letters.list({ ...filter, due: false }) } }),
    ]);
    notices('keeps the attempts of a letter that is retried', 'letters are made due at once, parked ones too, with their attempts counted anew', [
      consumerContract,
      ({ letters }) => ({ letters: { list: async (filter) => (await letters.list(filter)).map((letter) => ({ ...letter, attempts: letter.attempts || 5 })) } }),
    ]);
  });

  describe('a job store', () => {
    notices('knows no dedupe keys', 'insert returns tickets in order, and leaves out jobs whose dedupe key is there', [
      jobContract,
      ({ jobs }) => ({ jobs: { insert: (unit, rows) => jobs.insert(unit, rows.map((row) => ({ ...row, dedupeKey: null }))) } }), // prettier-ignore
    ]);
    notices('lets a run end that another has overtaken', 'a run that another has overtaken has no say, and the other one ends', [
      jobContract,
      ({ jobs }) => {
        const epochs = new Map<string, number>();
        return {
          jobs: {
            claim: async (ticket, leaseMs) => {
              const job = await jobs.claim(ticket, leaseMs);
              if (job) epochs.set(job.id, job.epoch);
              return job;
            },
            complete: (ticket, unit) => jobs.complete({ ...ticket, epoch: epochs.get(ticket.id)! }, unit),
          },
        };
      },
    ]);
    notices('hands out a running job whose lease has not run out', 'a claim refuses a stale ticket, and a running job until its lease has run out', [
      jobContract,
      ({ jobs }) => ({ jobs: { claim: async (ticket, leaseMs) => (await jobs.renew([ticket], 0), jobs.claim(ticket, leaseMs)) } }),
    ]);
    notices(
      'says done outside of the unit of the effect',
      'a job is done with the unit of its effect, or not at all',
      [jobContract, ({ jobs }) => ({ jobs: { complete: (ticket) => jobs.complete(ticket) } })],
      second,
    );
    notices(
      'claims jobs that run together as if each ran alone',
      'jobs are claimed together in the order of their tickets, without those that cannot be, and the run counts for none',
      [
        jobContract,
        ({ jobs }) => ({ jobs: { claimTogether: async (tickets, leaseMs) => (await Promise.all(tickets.map((ticket) => jobs.claim(ticket, leaseMs)))).filter((job) => job !== undefined) } }), // prettier-ignore
      ],
    );
    notices('says that jobs which ran together are done, each by itself', 'jobs that ran together are done with the unit of their effects, or none of them', [
      jobContract,
      ({ jobs }) => ({ jobs: { completeTogether: async (tickets) => void (await Promise.all(tickets.map((ticket) => jobs.complete(ticket)))) } }),
    ]);
    notices('lets those end that nobody has taken over', 'where one of the jobs that ran together was taken over, none of them is done, and nothing that was written stays', [
      jobContract,
      ({ jobs }) => ({
        jobs: {
          completeTogether: async (tickets, unit) => {
            for (const ticket of tickets) await jobs.complete(ticket, unit).catch(() => undefined);
          },
        },
      }),
    ]);
    notices('knows no priorities', 'what is due is told by priority, then oldest first', [
      jobContract,
      ({ jobs }) => ({ jobs: { insert: (unit, rows) => jobs.insert(unit, rows.map((row) => ({ ...row, priority: 0 }))) } }), // prettier-ignore
    ]);
    notices('knows no named times', 'a job runs at the time that it was made for', [
      jobContract,
      ({ jobs }) => ({ jobs: { insert: (unit, rows) => jobs.insert(unit, rows.map((row) => ({ ...row, runAt: undefined }))) } }), // prettier-ignore
    ]);
    notices('takes tickets of before a job was rescheduled', 'a job that is rescheduled runs at its new time, and its tickets of before are stale', [
      jobContract,
      ({ jobs }) => {
        const epochs = new Map<string, number>();
        return {
          jobs: {
            reschedule: async (unit, id, runAt) => {
              const changed = await jobs.reschedule(unit, id, runAt);
              if (changed.ticket) epochs.set(id, changed.ticket.epoch);
              return changed;
            },
            claim: (ticket, leaseMs) => jobs.claim({ ...ticket, epoch: epochs.get(ticket.id) ?? ticket.epoch }, leaseMs),
          },
        };
      },
    ]);
    notices(
      'changes jobs outside of the unit',
      'a change in a unit that is rolled back has not happened',
      [jobContract, (all) => ({ jobs: { reschedule: (_unit, id, runAt) => apart(all, (unit) => all.jobs.reschedule(unit, id, runAt)) } })],
      second,
    );
    notices('knows no sequences', 'a sequence has one job at a time that can be claimed, in the order in which they were queued', [
      jobContract,
      ({ jobs }) => ({ jobs: { insert: (unit, rows) => jobs.insert(unit, rows.map((row) => ({ ...row, sequenceKey: null }))) } }), // prettier-ignore
    ]);
    notices(
      'lets the next of a sequence go when the first is parked',
      'the first job of a sequence keeps its place while it is delayed, runs, is tried again, is given back or is parked',
      [
        jobContract,
        ({ jobs, units }) => ({
          jobs: {
            fail: async (ticket, error, retryInMs) => {
              const next = await jobs.fail(ticket, error, retryInMs);
              if (!next) await units.run((unit) => jobs.discard(unit, ticket.id, error));
              return next;
            },
          },
        }),
      ],
    );
    notices(
      'numbers a sequence in the order of its inserts',
      'a sequence has the order of commits, not that of what was queued first',
      [jobContract, (all) => ({ jobs: { insert: (_unit, rows) => apart(all, (unit) => all.jobs.insert(unit, rows)) } })],
      second,
    );
  });
});
