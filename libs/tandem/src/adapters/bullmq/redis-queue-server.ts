import { Queue, Worker } from 'bullmq';
import { Redis, type RedisOptions } from 'ioredis';
import { TandemError } from '../../kernel/errors.js';
import { KEPT_QUEUE_EVENTS, queueName, QueueServer, WORKER_ANSWER_WITHIN_MS, WORKER_SETTINGS, type OpenWorker, type TicketQueue, type WorkerPlan } from './queue-server.js';

export interface RedisPlace {
  /** `redis://…` or ioredis options. */
  readonly connection: string | RedisOptions;
  readonly queuePrefix: string;
  readonly allowEviction: boolean;
}

const ANSWER_WITHIN_MS = 2_000;
const LOGIN_REFUSED = /^(WRONGPASS|NOAUTH)\b/;
const retrySoon = (times: number): number => Math.min(50 * 2 ** Math.min(times, 10), 1_000);

export class RedisQueueServer extends QueueServer {
  /** For producers: a command either goes out now or is refused, so nothing piles up while Redis is away. */
  readonly redis: Redis;
  private checked?: Promise<void>;

  constructor(private readonly place: RedisPlace) {
    super(`Redis at ${addressOf(place.connection)}`, ANSWER_WITHIN_MS);
    this.redis = this.newClient({ enableOfflineQueue: false, maxRetriesPerRequest: 0, commandTimeout: ANSWER_WITHIN_MS });
    this.redis.on('error', (error) => this.outage.report(error));
  }

  /** A connection of its own to the same Redis, not yet open. The caller listens to its errors. */
  newClient(options: RedisOptions): Redis {
    const own: RedisOptions = { connectTimeout: ANSWER_WITHIN_MS, retryStrategy: retrySoon, lazyConnect: true, ...options };
    const { connection } = this.place;
    return typeof connection === 'string' ? new Redis(connection, own) : new Redis({ ...connection, ...own });
  }

  override get reachable(): boolean {
    return this.redis.status === 'ready';
  }

  /** An absent Redis comes back by itself; a wrong password does not. @throws TANDEM_WIRING where Redis refuses it */
  protected override async connect(): Promise<void> {
    let refusal: Error | undefined; // the promise only says that the connection was closed
    const note = (error: Error) => {
      if (LOGIN_REFUSED.test(error.message)) refusal = error;
    };
    this.redis.on('error', note);
    try {
      await this.redis.connect();
    } catch (error) {
      if (!refusal) throw error;
      this.redis.disconnect();
      throw new TandemError('TANDEM_WIRING', `${this.label} refuses user or password`, {
        cause: refusal,
        next: 'Correct user and password of its connection (REDIS_URL, where the application reads that).',
      });
    } finally {
      this.redis.off('error', note);
    }
  }

  override async prepare(): Promise<void> {
    if (!this.reachable) throw new Error(`not connected (${this.redis.status})`);
    this.checked ??= this.checkEviction();
    try {
      await this.checked;
    } catch (error) {
      this.checked = undefined;
      throw error;
    }
  }

  /** A Redis that evicts keys under memory pressure throws queued jobs away; BullMQ only warns. */
  private async checkEviction(): Promise<void> {
    if (this.place.allowEviction) return;
    const policy = /^maxmemory_policy:(\S+)/m.exec(await this.redis.info('memory'))?.[1];
    if (policy === undefined || policy === 'noeviction') return;
    throw new TandemError('TANDEM_WIRING', `${this.label} has maxmemory-policy "${policy}" and may throw queued jobs away`, {
      next: 'Set `maxmemory-policy noeviction`, or accept slower jobs with `allowEviction: true`.',
      data: { policy },
    });
  }

  override openQueue(queue: string): TicketQueue {
    const opened = new Queue(queueName(this.place.queuePrefix, queue), { connection: this.redis, prefix: this.keyPrefix, streams: KEPT_QUEUE_EVENTS });
    opened.on('error', (error) => this.outage.report(error));
    return opened;
  }

  override openForeignQueue(queue: string, prefix: string): TicketQueue {
    const opened = new Queue(queue, { connection: this.redis, prefix, skipMetasUpdate: true });
    opened.on('error', (error) => this.outage.report(error));
    return opened;
  }

  override openWorker(plan: WorkerPlan): OpenWorker {
    const { connection } = this.place;
    const worker = new Worker(queueName(this.place.queuePrefix, plan.queue), this.processor(plan), {
      // Without that limit a worker whose connection is dead without being closed would wait for ever.
      connection: {
        ...(typeof connection === 'string' ? { url: connection } : connection),
        maxRetriesPerRequest: null,
        retryStrategy: retrySoon,
        socketTimeout: WORKER_ANSWER_WITHIN_MS,
      },
      prefix: this.keyPrefix,
      concurrency: plan.concurrency,
      ...WORKER_SETTINGS,
    });
    worker.on('error', (error) => this.outage.report(error));
    worker.on('failed', (job, error) => this.outage.failed(`${worker.name} ${job?.id ?? ''}`, error));
    return { worker, close: (force) => worker.close(force) };
  }

  /** A hash tag: all keys of this application lie in one slot of a cluster, as BullMQ's scripts need. */
  private get keyPrefix(): string {
    return `{${this.place.queuePrefix}}`;
  }

  /** A connection that swallows commands is dropped and made anew. */
  override suspect(): void {
    if (this.reachable) this.redis.disconnect(true);
  }

  protected override close(): Promise<void> {
    this.redis.disconnect();
    return Promise.resolve();
  }
}

/** Host and port, without the password that a URL may carry. */
function addressOf(connection: string | RedisOptions): string {
  if (typeof connection !== 'string') return connection.path ?? `${connection.host ?? 'localhost'}:${connection.port ?? 6379}`;
  const { hostname, port } = new URL(connection);
  return `${hostname}:${port || 6379}`;
}
