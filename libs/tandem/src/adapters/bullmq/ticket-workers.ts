import { Clock } from '../../kernel/clock.js';
import type { OpenWorker, QueueServer, WorkerPlan } from './queue-server.js';
import { within } from './within.js';

const REOPEN_MS = 1_000;
const CLOSE_WITHIN_MS = 2_000;
const FOR_EVER_MS = 2 ** 31 - 1;

/** The receiving ends of the queues: opened in the background, again and again until the server is there. */
export class TicketWorkers {
  private readonly workers: TicketWorker[] = [];

  constructor(private readonly server: QueueServer) {}

  start(plan: WorkerPlan): void {
    this.server.plannedWorkers++;
    this.workers.push(new TicketWorker(this.server, plan));
  }

  /** Takes no more tickets; resolves when running handlers are done, or after `drainMs`. */
  async stop(drainMs: number): Promise<void> {
    await Promise.all(this.workers.splice(0).map((worker) => worker.stop(drainMs)));
  }
}

class TicketWorker {
  private readonly clock = new Clock();
  private readonly running = new Set<Promise<void>>();
  private readonly stopping = new AbortController();
  private readonly opening: Promise<void>;
  private open?: OpenWorker;

  constructor(
    private readonly server: QueueServer,
    private readonly plan: WorkerPlan,
  ) {
    this.opening = this.keepOpening();
  }

  private async keepOpening(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        await this.server.prepare();
        if (signal.aborted) return;
        this.open = this.server.openWorker({ ...this.plan, process: (data) => this.process(data) });
        await Promise.race([this.open.worker.waitUntilReady(), this.clock.sleep(FOR_EVER_MS, signal)]);
        if (signal.aborted) return;
        this.open.worker.run().catch((error: unknown) => this.server.outage.report(error));
        return;
      } catch (error) {
        this.server.outage.report(error);
        await this.discard(true);
        await this.clock.sleep(REOPEN_MS, signal);
      }
    }
  }

  private process(data: unknown): Promise<void> {
    const run = this.plan.process(data).finally(() => this.running.delete(run));
    this.running.add(run);
    return run;
  }

  async stop(drainMs: number): Promise<void> {
    this.stopping.abort();
    await this.opening;
    const deadline = this.clock.now() + drainMs;
    await this.open?.worker.pause(true);
    while (this.running.size > 0 && this.clock.now() < deadline) {
      const done = new AbortController();
      void Promise.allSettled(this.running).then(() => done.abort());
      await this.clock.sleep(deadline - this.clock.now(), done.signal);
    }
    await this.discard(this.running.size > 0 || !this.server.reachable);
  }

  private async discard(force: boolean): Promise<void> {
    const { open } = this;
    this.open = undefined;
    if (!open) return;
    try {
      await within(CLOSE_WITHIN_MS, `closing the worker of ${this.plan.queue}`, open.close(force));
    } catch (error) {
      this.server.outage.report(error);
    }
  }
}
