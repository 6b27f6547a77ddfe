/**
 * The course of the demo. Orders are placed in four parts; in the middle of each of the first three the process that runs the
 * workers is killed, in the middle of the last the queue is wiped. On the embedded default one process does everything, so it
 * is the one that is killed, while it takes commands; on servers the writer stays and the worker is killed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../environment.js';
import { CannotStart } from '../process-life.js';
import type { DemoResults } from './comparison.js';
import { DemoBar } from './demo-bar.js';
import type { DemoState, FromEngine, Sums } from './demo-messages.js';
import { totalSent } from './demo-orders.js';
import { EngineProcess, failureOf } from './engine-process.js';

const PARTS = 4;
const LOOK_EVERY_MS = 20;
const SETTLE_WITHIN_MS = 180_000;

export interface DemoPlan {
  /** Begins the ids of everything that this run writes. */
  readonly run: string;
  /** At least four. */
  readonly orders: number;
  readonly environment: Environment;
  /** Variables of its processes. */
  readonly env: NodeJS.ProcessEnv;
}

export class Demo {
  private readonly acknowledged = new Set<number>();
  private state: DemoState = { read: 0, jobsDone: 0, jobsOpen: 0, lag: 0, stuck: [] };
  private jobsBefore?: number;
  private wiped?: number;
  private sums?: Sums;
  private failure?: Error;
  private stopped?: Error;
  private writer?: EngineProcess;
  private worker?: EngineProcess;
  private readWhenStarted = 0;
  private readonly bar: DemoBar;

  constructor(private readonly plan: DemoPlan) {
    this.bar = new DemoBar(plan.orders);
  }

  async play(): Promise<DemoResults> {
    try {
      return await this.run();
    } catch (error) {
      throw this.stopped ?? error; // a Ctrl-C reaches its processes too, and their end is no news then
    }
  }

  private async run(): Promise<DemoResults> {
    if (this.stopped) throw this.stopped;
    await this.startProcesses();
    const started = performance.now();
    this.bar.start();
    for (let part = 0; part < PARTS; part++) {
      const numbers = partOf(part, this.plan.orders);
      this.writer!.send({ kind: 'place', numbers });
      await this.until(() => this.acknowledged.size >= numbers[0]! + numbers.length / 2 && this.state.read > this.readWhenStarted, 'orders are placed and read');
      if (part < PARTS - 1) await this.killWorker(numbers, part + 1);
      else await this.wipeQueue();
      await this.until(() => numbers.every((number) => this.acknowledged.has(number)), 'orders are placed');
    }
    await this.until(() => this.settled, 'the read side and the mails catch up');
    this.bar.stop();
    const seconds = (performance.now() - started) / 1_000;
    this.writer!.send({ kind: 'sums' });
    await this.until(() => this.sums !== undefined, 'sums are computed');
    return { ...this.sums!, acknowledged: { orders: this.acknowledged.size, total: totalSent(this.plan.run, this.acknowledged) }, kills: PARTS - 1, wipes: 1, seconds };
  }

  /** Makes `play` give up, with this reason. */
  stop(reason: Error): void {
    this.stopped = reason;
  }

  /** Ends the processes. What they wrote goes with the place. */
  async end(): Promise<void> {
    this.bar.stop();
    await Promise.all([this.worker?.end('SIGKILL'), this.writer?.end('SIGKILL')]);
  }

  private get settled(): boolean {
    return this.state.read >= this.plan.orders && this.state.lag === 0 && this.state.jobsOpen === 0;
  }

  private async startProcesses(): Promise<void> {
    if (this.plan.environment.databaseUrl === undefined) {
      this.writer = this.worker = await this.start('all');
      return;
    }
    this.worker = await this.start('worker');
    this.writer = await this.start('api');
  }

  private start(role: Environment['role']): Promise<EngineProcess> {
    return EngineProcess.start(this.plan.run, { ...this.plan.env, TANDEM_ROLE: role }, (message) => this.hear(message));
  }

  private hear(message: FromEngine): void {
    switch (message.kind) {
      case 'ready':
        return;
      case 'acknowledged':
        this.acknowledged.add(message.number);
        break;
      case 'state':
        this.jobsBefore ??= message.jobsDone;
        this.state = message;
        break;
      case 'wiped':
        this.wiped = message.entries;
        break;
      case 'sums':
        this.sums = message.sums;
        break;
      case 'failed':
        this.failure = failureOf(message);
        break;
    }
    this.bar.show({ written: this.acknowledged.size, read: this.state.read, jobsDone: this.state.jobsDone - (this.jobsBefore ?? 0), lag: this.state.lag });
  }

  /** What was on its way is unknown to the demo then: it sends those orders again. */
  private async killWorker(numbers: readonly number[], count: number): Promise<void> {
    const killed = this.worker!;
    await killed.killHard();
    this.bar.say(`kill -9 ${killed.pid} (${count} of ${PARTS - 1}) after ${this.acknowledged.size} acknowledged orders; it is started again`);
    const oneProcess = killed === this.writer;
    this.readWhenStarted = this.state.read;
    this.worker = await this.start(oneProcess ? 'all' : 'worker');
    if (!oneProcess) return;
    this.writer = this.worker;
    this.writer.send({ kind: 'place', numbers: numbers.filter((number) => !this.acknowledged.has(number)) });
  }

  private async wipeQueue(): Promise<void> {
    this.writer!.send({ kind: 'wipe' });
    await this.until(() => this.wiped !== undefined, 'the queue is wiped');
    this.bar.say(`the queue was wiped: ${this.wiped} entries of BullMQ are gone, the jobs are still in SQL`);
  }

  private async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + SETTLE_WITHIN_MS;
    while (!condition()) {
      if (this.stopped) throw this.stopped;
      if (this.failure) throw this.failure;
      if (this.state.stuck.length > 0) throw new CannotStart(`waiting until ${what}: ${this.state.stuck.join('; ')}`);
      if (Date.now() > deadline) throw new CannotStart(`waited ${SETTLE_WITHIN_MS / 1_000} s until ${what}: ${JSON.stringify(this.state)}`);
      await sleep(LOOK_EVERY_MS);
    }
  }
}

function partOf(part: number, orders: number): readonly number[] {
  const first = Math.floor((part * orders) / PARTS);
  return Array.from({ length: Math.floor(((part + 1) * orders) / PARTS) - first }, (_, index) => first + index);
}
