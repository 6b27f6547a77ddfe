/** Each breaks one rule of the library, by putting something else in the place of one of its ports. */
import type { Provider } from '@nestjs/common';
import { getDataSourceToken } from '@nestjs/typeorm';
import { type Claim, type ClaimedJob, ConsumerStore, DeadLetterStore, EventLog, JobStore, type TandemSettings, type TandemStorage, UnitOfWorkRunner } from 'nest-tandem';
import type { DataSource } from 'typeorm';
import { append } from '../../../libs/tandem/src/adapters/typeorm/append.js';
import { type Sql, sqlOf, sqlOutside } from '../../../libs/tandem/src/adapters/typeorm/sql.js';
import { SqlEventLog } from '../../../libs/tandem/src/adapters/typeorm/sql-event-log.js';
import { tableNames } from '../../../libs/tandem/src/adapters/typeorm/table-names.js';
import type { MutantName } from '../mutants.js';

interface BrokenRule {
  /** The port as the storage made it, changed. */
  readonly port?: unknown;
  readonly change?: (port: never, source: DataSource, units: UnitOfWorkRunner) => object;
  readonly settings?: TandemSettings;
}

const never = 24 * 60 * 60 * 1_000;

const BROKEN: Readonly<Record<Exclude<MutantName, 'answer-before-commit'>, BrokenRule>> = {
  'checkpoint-apart': { port: ConsumerStore, change: checkpointApart },
  'job-done-apart': { port: JobStore, change: doneApart },
  'numbers-apart': { port: EventLog, change: (_log: never, source) => new NumbersApart(source) },
  'held-streams-go-on': { port: DeadLetterStore, change: (letters: DeadLetterStore) => Object.assign(letters, { held: () => Promise.resolve([]) }) },
  'epoch-ignored': { port: JobStore, change: epochIgnored },
  'wake-ups-only': { settings: { reconcileEveryMs: never } },
};

const ruleOf = (mutant: MutantName | undefined): BrokenRule => (mutant === undefined || mutant === 'answer-before-commit' ? {} : BROKEN[mutant]);

export const brokenSettings = (mutant: MutantName | undefined): TandemSettings => ruleOf(mutant).settings ?? {};

export function brokenStorage(storage: TandemStorage, mutant: MutantName | undefined): TandemStorage {
  const { change, port } = ruleOf(mutant);
  if (!change) return storage;
  const providers = storage.providers.map((provider): Provider => {
    if (typeof provider === 'function' || !('useFactory' in provider) || provider.provide !== port) return provider;
    const { inject = [], useFactory } = provider;
    return {
      provide: provider.provide,
      inject: [...inject, getDataSourceToken(), UnitOfWorkRunner],
      useFactory: (...args: unknown[]) => change(useFactory(...(args.slice(0, -2) as never[])) as never, args.at(-2) as DataSource, args.at(-1) as UnitOfWorkRunner),
    };
  });
  return { ...storage, providers };
}

/** In a transaction of its own, when the batch has committed. */
function checkpointApart(store: ConsumerStore, _source: DataSource, units: UnitOfWorkRunner): ConsumerStore {
  const advance = store.advance.bind(store);
  return Object.assign(store, {
    advance: (unit, claim: Claim, checkpoints) => {
      unit.afterCommit(() => units.run((own) => advance(own, claim, checkpoints), { kind: 'consumer' }));
      return Promise.resolve();
    },
  } satisfies Pick<ConsumerStore, 'advance'>);
}

/** By itself, when the effect has committed. */
function doneApart(store: JobStore): JobStore {
  const complete = store.complete.bind(store);
  return Object.assign(store, {
    complete: async (ticket, unit) => {
      if (!unit) return complete(ticket);
      unit.afterCommit(() => complete(ticket));
    },
    completeTogether: (tickets, unit) => Promise.resolve(unit.afterCommit(() => Promise.all(tickets.map((ticket) => complete(ticket))))),
  } satisfies Pick<JobStore, 'complete' | 'completeTogether'>);
}

/** Whoever has a ticket takes the job, and whoever has finished it says so. */
function epochIgnored(store: JobStore, source: DataSource): JobStore {
  const claim = store.claim.bind(store);
  return Object.assign(store, {
    claim: async (ticket, leaseMs): Promise<ClaimedJob | undefined> => {
      const [row] = await source.query<{ epoch: number; due: number }[]>(
        "SELECT epoch, state = 'waiting' OR (state = 'running' AND run_at <= UTC_TIMESTAMP(6)) AS due FROM tandem_job WHERE id = ?",
        [ticket.id],
      );
      return row && Number(row.due) === 1 ? claim({ ...ticket, epoch: row.epoch }, leaseMs) : undefined;
    },
    complete: async ({ id }, unit) => {
      const text = "UPDATE tandem_job SET state = 'done', finished_at = UTC_TIMESTAMP(6), sequence_key = NULL WHERE id = ?";
      await (unit ? sqlOf(unit).query(text, [id]) : source.query(text, [id]));
    },
  } satisfies Pick<JobStore, 'claim' | 'complete'>);
}

/** Takes its numbers in transactions of their own, so that no lock is held until COMMIT. */
class NumbersApart extends SqlEventLog {
  constructor(private readonly source: DataSource) {
    super(source, tableNames());
  }

  override append(...[unit, events, outcomes = []]: Parameters<SqlEventLog['append']>): ReturnType<SqlEventLog['append']> {
    const sql = sqlOf(unit);
    const apart: Sql = {
      dialect: sql.dialect,
      query: <R>(text: string, params?: readonly unknown[]) =>
        text.startsWith('UPDATE tandem_shard') ? sqlOutside(this.source, (own) => own.query<R>(text, params)) : sql.query<R>(text, params),
    };
    return append(apart, { events, outcomes }, { dataSource: this.source, tables: tableNames() });
  }

  override appendLast(...request: Parameters<SqlEventLog['append']>): ReturnType<SqlEventLog['append']> {
    return this.append(...request);
  }
}
