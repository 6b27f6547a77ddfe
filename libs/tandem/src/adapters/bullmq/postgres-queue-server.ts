import { assertSchemaCompatibility, createPostgresBackend, DEFAULT_SCHEMA, LATEST_SCHEMA_VERSION, Queue, runMigrations, SchemaMigrationRequiredError, Worker } from 'bullmq';
import type { Socket } from 'node:net';
import pg from 'pg';
import { TandemError } from '../../kernel/errors.js';
import { breakWhenSilent } from '../../kernel/silent-socket.js';
import { NotificationRelay } from './notification-relay.js';
import { KEPT_QUEUE_EVENTS, queueName, QueueServer, WORKER_ANSWER_WITHIN_MS, WORKER_SETTINGS, type OpenWorker, type TicketQueue, type WorkerPlan } from './queue-server.js';

export interface PostgresPlace {
  readonly label: string;
  /** Where it is; asked whenever a pool is opened. */
  config(): Promise<pg.PoolConfig>;
  /** Default that of pg. */
  readonly Pool?: typeof pg.Pool;
  /** All connections share one session, as on PGlite behind its socket. */
  readonly oneSession: boolean;
  readonly queuePrefix: string;
}

const ANSWER_WITHIN_MS = 5_000;
/** In one session everybody waits for an open transaction: late is not away. */
const ONE_SESSION_ANSWERS_WITHIN_MS = 30_000;
const PRODUCER_CONNECTIONS = 3;
/** Of each worker; one of them only listens. */
const WORKER_CONNECTIONS = 4;
/** That of the invalidation channel. */
const LISTENER_CONNECTIONS = 1;

/** BullMQ's PostgreSQL backend, in its own schema `bullmq`. */
export class PostgresQueueServer extends QueueServer {
  private readonly relay = new NotificationRelay();
  private prepared?: Promise<void>;
  private settings?: pg.PoolConfig;
  private producerPool?: pg.Pool;

  constructor(private readonly place: PostgresPlace) {
    super(place.label, place.oneSession ? ONE_SESSION_ANSWERS_WITHIN_MS : ANSWER_WITHIN_MS);
  }

  /** How many may be open at once. */
  get connections(): number {
    return PRODUCER_CONNECTIONS + LISTENER_CONNECTIONS + this.plannedWorkers * WORKER_CONNECTIONS;
  }

  override get reachable(): boolean {
    return true; // each pool finds out by itself, and quickly
  }

  config(): Promise<pg.PoolConfig> {
    return this.place.config();
  }

  protected override connect(): Promise<void> {
    return Promise.resolve();
  }

  override async prepare(): Promise<void> {
    this.prepared ??= this.makeReady();
    try {
      await this.prepared;
    } catch (error) {
      this.prepared = undefined;
      throw error;
    }
  }

  private async makeReady(): Promise<void> {
    this.settings = await this.place.config();
    this.producerPool ??= this.openPool(PRODUCER_CONNECTIONS);
    const client = await this.producerPool.connect();
    try {
      await migrate(client);
      if (this.place.oneSession) await this.shareSearchPath(client);
    } finally {
      client.release();
    }
  }

  /** In one session the application's tables and BullMQ's are found by one path, the application's first. */
  private async shareSearchPath(client: pg.PoolClient): Promise<void> {
    await client.query(`SET search_path TO public, ${DEFAULT_SCHEMA}`);
    const { rows } = await client.query<{ name: string }>(
      `SELECT mine.relname AS name FROM pg_class mine JOIN pg_class theirs ON theirs.relname = mine.relname
       WHERE mine.relnamespace = 'public'::regnamespace AND theirs.relnamespace = $1::regnamespace AND theirs.relkind IN ('r', 'S')`,
      [DEFAULT_SCHEMA],
    );
    if (rows.length === 0) return;
    const names = rows.map(({ name }) => `"${name}"`).join(', ');
    throw new TandemError('TANDEM_WIRING', `The tables ${names} have names that BullMQ needs for its own on the embedded database`, {
      next: 'Give them other names, or run on a server.',
    });
  }

  private openPool(max: number): pg.Pool {
    const { settings } = this;
    const options = [settings?.options, this.place.oneSession ? undefined : `-c search_path=${DEFAULT_SCHEMA}`].filter(Boolean).join(' ');
    const pool = new (this.place.Pool ?? pg.Pool)({ connectionTimeoutMillis: this.answerWithinMs, keepAlive: true, ...settings, options, max });
    pool.on('error', (error) => this.outage.report(error));
    // The pool hears its idle clients only. One that is taken, and waits for nothing just then, would end the process when the server ends its session.
    pool.on('connect', (client) => client.on('error', (error) => this.outage.report(error)));
    if (this.place.oneSession) this.relay.watch(pool);
    else pool.on('connect', breakWhenNoAnswerComes);
    return pool;
  }

  /** The pool for short statements. */
  async producers(): Promise<pg.Pool> {
    await this.prepare();
    return this.producerPool!;
  }

  override openQueue(queue: string): TicketQueue {
    const opened = new Queue(queueName(this.place.queuePrefix, queue), { connection: this.producerPool!, streams: KEPT_QUEUE_EVENTS }, createPostgresBackend);
    opened.on('error', (error) => this.outage.report(error));
    return opened as unknown as TicketQueue;
  }

  override openForeignQueue(queue: string, prefix: string): TicketQueue {
    const opened = new Queue(queue, { connection: this.producerPool!, prefix, skipMetasUpdate: true }, createPostgresBackend);
    opened.on('error', (error) => this.outage.report(error));
    return opened as unknown as TicketQueue;
  }

  override openWorker(plan: WorkerPlan): OpenWorker {
    const pool = this.openPool(WORKER_CONNECTIONS);
    const worker = new Worker(
      queueName(this.place.queuePrefix, plan.queue),
      this.processor(plan),
      { connection: pool, concurrency: plan.concurrency, ...WORKER_SETTINGS, ...(this.place.oneSession && { drainDelay: 1 }) },
      createPostgresBackend,
    );
    worker.on('error', (error) => this.outage.report(error));
    worker.on('failed', (job, error) => this.outage.failed(`${worker.name} ${job?.id ?? ''}`, error));
    const close = async (force: boolean) => {
      try {
        await worker.close(force);
      } finally {
        await pool.end();
      }
    };
    return { worker, close };
  }

  override suspect(): void {
    // Nothing to drop: the pool's own time-outs do.
  }

  protected override async close(): Promise<void> {
    const pool = this.producerPool;
    this.producerPool = undefined;
    await pool?.end();
  }
}

/** What pg shows of a client, beyond its types. */
type Insides = pg.PoolClient & { readonly connection?: { readonly stream?: Socket }; readonly readyForQuery?: boolean };

/** A producer is refused sooner; but a worker's statement that never ends would keep it from all later jobs. */
function breakWhenNoAnswerComes(client: pg.PoolClient): void {
  const { connection } = client as Insides;
  if (connection?.stream) breakWhenSilent(connection.stream, { limitMs: WORKER_ANSWER_WITHIN_MS, isWaiting: () => (client as Insides).readyForQuery === false });
}

/** Looks first: a user who may not create schemas can still use one that is up to date. */
async function migrate(client: pg.PoolClient): Promise<void> {
  const version = await assertSchemaCompatibility(client, DEFAULT_SCHEMA).catch((error: unknown) => {
    if (error instanceof SchemaMigrationRequiredError) return 0;
    throw error;
  });
  if (version < LATEST_SCHEMA_VERSION) await runMigrations(client, DEFAULT_SCHEMA);
}
