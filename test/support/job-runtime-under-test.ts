/** The runtime of queued commands on a database of its own: a test hands it the tickets, and is the handler. */
import type { CommandBus } from '@nestjs/cqrs';
import { SqlJobStore } from '../../libs/tandem/src/adapters/typeorm/sql-job-store.js';
import { sqlOutside } from '../../libs/tandem/src/adapters/typeorm/sql.js';
import { Clock } from '../../libs/tandem/src/kernel/clock.js';
import { nextMessage } from '../../libs/tandem/src/kernel/message-context.js';
import { JobOutbox } from '../../libs/tandem/src/jobs/job-outbox.js';
import { JobRuntime } from '../../libs/tandem/src/jobs/job-runtime.js';
import type { JobTicket, SharedTicket } from '../../libs/tandem/src/jobs/job-store.js';
import { JobTransport, type NewTicket } from '../../libs/tandem/src/jobs/job-transport.js';
import { newJob } from '../../libs/tandem/src/jobs/new-job.js';
import { queuedCommandOf } from '../../libs/tandem/src/jobs/queued-command.js';
import type { SqlBackend } from './backends.js';
import { tandemDatabase, type TandemDatabase } from './tandem-database.js';

export class CalledTransport extends JobTransport {
  readonly added: NewTicket[] = [];
  handler!: (ticket: SharedTicket) => Promise<void>;
  override add = (tickets: readonly NewTicket[]): Promise<void> => Promise.resolve(void this.added.push(...tickets));
  override queued = () => Promise.resolve(0);
  override handOver = () => Promise.resolve();
  override stop = () => Promise.resolve();
  override work = async (_queue: string, _concurrency: number, handler: (ticket: SharedTicket) => Promise<void>) => void (this.handler = handler);
}

export interface JobRow {
  readonly state: string;
  readonly attempts: number;
  readonly epoch: number;
}

export interface RuntimeUnderTest {
  readonly db: TandemDatabase;
  readonly store: SqlJobStore;
  readonly outbox: JobOutbox;
  readonly transport: CalledTransport;
  readonly runtime: JobRuntime;
  /** In place of the command bus. */
  execute: (command: object) => Promise<unknown>;
  insert(...commands: object[]): Promise<readonly JobTicket[]>;
  /** In the order in which they were made. */
  jobs(): Promise<JobRow[]>;
  /** Rows of the table `effect (id INT)`. */
  effects(): Promise<number>;
  leasesRunOut(): Promise<void>;
  end(): Promise<void>;
}

export interface RuntimeOptions {
  readonly commands: readonly object[];
  readonly jobLeaseMs: number;
  readonly reconcileEveryMs?: number;
}

export async function runtimeUnderTest(backend: SqlBackend, { commands, jobLeaseMs, reconcileEveryMs = 60_000 }: RuntimeOptions): Promise<RuntimeUnderTest> {
  const db = await tandemDatabase(backend);
  const store = new SqlJobStore(db.dataSource, db.tables);
  const transport = new CalledTransport();
  const settings = { jobLeaseMs, reconcileEveryMs, keepDoneJobsMs: 60_000, maxQueuedTickets: 1_000, drainTimeoutMs: 1_000 };
  const outbox = new JobOutbox(store, transport, new Clock(), settings);
  const bus = { execute: (command: object) => subject.execute(command) } as unknown as CommandBus;
  const runtime = new JobRuntime(db.units, store, transport, outbox, bus, new Clock(), settings);
  const query = <R>(text: string): Promise<R> => sqlOutside(db.dataSource, (sql) => sql.query<R>(text));
  const subject: RuntimeUnderTest = {
    ...{ db, store, outbox, transport, runtime },
    execute: () => Promise.resolve(),
    insert: (...all) => db.units.run((unit) => store.insert(unit, all.map((command) => newJob(command, nextMessage())))), // prettier-ignore
    jobs: () => query<JobRow[]>(`SELECT state, attempts, epoch FROM ${db.tables.job} ORDER BY id`),
    effects: async () => (await query<unknown[]>('SELECT id FROM effect')).length,
    leasesRunOut: () => query(`UPDATE ${db.tables.job} SET run_at = created_at`),
    end: async () => {
      await runtime.stop(1_000);
      await db.drop();
    },
  };
  await runtime.start(commands.map((command) => queuedCommandOf(command)!));
  await query('CREATE TABLE effect (id INT)');
  return subject;
}
