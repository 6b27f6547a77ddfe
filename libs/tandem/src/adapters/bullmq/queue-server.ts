/**
 * What carries the queues: Redis or PostgreSQL, through BullMQ. It may be away at any time, from the start on: producers are
 * refused at once, workers come back by themselves, and SQL holds whatever was lost.
 */
import { Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import type { Job, Queue, Worker } from 'bullmq';
import { isTandemError } from '../../kernel/errors.js';
import { OutageLog } from './outage-log.js';

export type TicketQueue = Pick<Queue, 'addBulk' | 'getJobCounts' | 'getJobSchedulers' | 'removeJobScheduler' | 'upsertJobScheduler' | 'waitUntilReady' | 'close'>;

export interface OpenWorker {
  readonly worker: Pick<Worker, 'run' | 'pause' | 'waitUntilReady'>;
  /** `force`: without waiting for handlers that still run. */
  close(force: boolean): Promise<void>;
}

export interface WorkerPlan {
  readonly queue: string;
  readonly concurrency: number;
  readonly process: (data: unknown) => Promise<void>;
}

/**
 * How BullMQ workers are set up here. Their own retries and stalled checks only carry tickets back: SQL decides what still has
 * to run. Tickets say themselves that they are not kept, but one that lost its fields in a partial loss of keys says nothing:
 * kept as finished, it would make BullMQ ignore every later ticket with its id.
 */
export const WORKER_SETTINGS = {
  autorun: false,
  lockDuration: 10_000,
  stalledInterval: 5_000,
  runRetryDelay: 1_000,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
} as const;

/** Longer than BullMQ's workers block where there is nothing to do. */
export const WORKER_ANSWER_WITHIN_MS = 15_000;

/** Of the event stream that BullMQ keeps per queue; nothing here reads it. */
export const KEPT_QUEUE_EVENTS = { events: { maxLen: 1_000 } } as const;

/** BullMQ allows no colon in a queue's name. */
export const queueName = (queuePrefix: string, queue: string): string => `${queuePrefix}.${queue}`;

export abstract class QueueServer implements OnModuleInit, OnApplicationShutdown {
  readonly logger = new Logger('Tandem');
  readonly outage: OutageLog;
  /** They open in the background. */
  plannedWorkers = 0;
  private readonly closers: (() => Promise<void>)[] = [];

  constructor(
    readonly label: string,
    /** A producer that has no answer by then is refused. */
    readonly answerWithinMs: number,
  ) {
    this.outage = new OutageLog(this.logger, label);
  }

  /** Connects for the first time; an absent server is reported and tried again later. @throws TANDEM_WIRING when it is there and unfit. */
  async onModuleInit(): Promise<void> {
    try {
      await this.connect();
      await this.prepare();
    } catch (error) {
      if (isTandemError(error, 'TANDEM_WIRING')) throw error;
      this.outage.report(error);
    }
  }

  /** What hangs on this server closes before it does. */
  beforeClose(closer: () => Promise<void>): void {
    this.closers.push(closer);
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.closers.splice(0).map((closer) => closer()));
    await this.close();
  }

  /** False while it is known to be away. */
  abstract get reachable(): boolean;

  /** Makes sure that it is there and fit; rejects at once while it is away. */
  abstract prepare(): Promise<void>;

  /** After `prepare`. */
  abstract openQueue(queue: string): TicketQueue;

  /** One of another application: its name, prefix and settings are theirs. After `prepare`. */
  abstract openForeignQueue(queue: string, prefix: string): TicketQueue;

  /** After `prepare`. */
  abstract openWorker(plan: WorkerPlan): OpenWorker;

  /** An answer did not come in time. */
  abstract suspect(): void;

  protected abstract connect(): Promise<void>;
  protected abstract close(): Promise<void>;

  /** What BullMQ calls for each job. */
  protected processor(plan: WorkerPlan): (job: Job) => Promise<void> {
    return async (job) => {
      this.outage.over();
      await plan.process(job.data);
    };
  }
}
