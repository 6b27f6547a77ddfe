import { setTimeout as sleep } from 'node:timers/promises';
import { AppProcess, type ProcessPlan } from './app-process.js';
import type { Skew } from './clock-skew.js';
import type { Role } from './failpoints.js';
import type { FaultProxy } from './fault-proxy.js';

/** Between two starts of a process that cannot start, since its database is away. */
const RESTART_PAUSE_MS = 500;
const START_WITHIN_MS = 120_000;
const LOOK_EVERY_MS = 100;

export interface PlacePlan extends Omit<ProcessPlan, 'skew'> {
  readonly toDatabase: FaultProxy;
  readonly toRedis: FaultProxy;
  /** Asked at every start. */
  readonly skew: () => Skew;
}

/** Where one process of the fleet runs. When it ends, another one is started there. */
export class Place {
  private process: AppProcess;
  private expectsEnd = false;
  private closing = false;
  private loop: Promise<void>;
  /** A fault is happening to it. */
  busy = false;
  starts = 0;
  skewedStarts = 0;
  /** Ends that nobody wanted, of processes that served, and starts that did not come. */
  readonly unwanted: string[] = [];

  constructor(readonly plan: PlacePlan) {
    this.process = this.started();
    this.loop = this.keepRunning();
  }

  get name(): string {
    return this.plan.site.name;
  }

  get role(): Role {
    return this.plan.site.role;
  }

  get current(): AppProcess {
    return this.process;
  }

  /** Resolves when a process serves here, or should have long ago. */
  async serves(): Promise<void> {
    const deadline = Date.now() + START_WITHIN_MS;
    while (!this.closing) {
      if (this.process.isReady && this.process.isAlive) return;
      await sleep(LOOK_EVERY_MS);
      if (Date.now() > deadline) return void this.unwanted.push(`${this.name} does not start`);
    }
  }

  /** Whether its next end is no surprise. */
  expectEnd(expected = true): void {
    this.expectsEnd = expected;
  }

  async kill(): Promise<void> {
    const { process: killed } = this;
    this.expectEnd();
    killed.signal('SIGKILL');
    await killed.ended;
  }

  /** SIGTERM, and no other process afterwards. Returns the exit code, or the signal that ended it. */
  async close(withinMs: number): Promise<number | string> {
    this.closing = true;
    const { process: last } = this;
    if (last.isAlive) last.signal('SIGTERM');
    const end = await Promise.race([last.ended, sleep(withinMs).then(() => undefined)]);
    if (!end) last.signal('SIGKILL');
    await this.loop;
    return end?.code ?? end?.signal ?? 'SIGKILL, since it did not end';
  }

  async destroy(): Promise<void> {
    this.closing = true;
    this.process.signal('SIGKILL');
    await this.loop;
  }

  private async keepRunning(): Promise<void> {
    for (;;) {
      const { process: running } = this;
      const { code, signal } = await running.ended;
      if (this.closing) return;
      if (running.isReady && !this.expectsEnd) this.unwanted.push(`${this.name} ended by itself with ${code ?? signal}`);
      this.expectsEnd = false;
      if (!running.isReady) await sleep(RESTART_PAUSE_MS);
      if (this.closing) return;
      this.process = this.started();
    }
  }

  private started(): AppProcess {
    const skew = this.plan.skew();
    this.starts++;
    if (skew) this.skewedStarts++;
    return new AppProcess({ ...this.plan, skew });
  }
}
