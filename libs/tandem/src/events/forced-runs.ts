import { AsyncLocalStorage } from 'node:async_hooks';
import { Injectable, Logger } from '@nestjs/common';
import { asWorker } from '../kernel/connection-use.js';
import type { Consumer } from './consumer.js';
import { ConsumerRuntime } from './consumer-runtime.js';
import { SingleRuns } from './single-runs.js';
import { WakeUpTransport } from './wake-up-transport.js';

/** Brings consumers up to date for somebody who waits for them, whatever they wait for themselves: here, or in a process that runs consumers. */
@Injectable()
export class ForcedRuns {
  private readonly logger = new Logger('Tandem');
  private readonly asking = new SingleRuns();
  /** Not in the message, or the unit of work, of who asks. */
  private readonly outside = AsyncLocalStorage.snapshot();

  constructor(
    private readonly runtime: ConsumerRuntime,
    private readonly transport: WakeUpTransport,
  ) {}

  /** Never throws and never waits. */
  ask(consumers: readonly Consumer[]): void {
    for (const consumer of consumers) this.outside(() => void this.run(consumer));
  }

  private async run(consumer: Consumer): Promise<void> {
    try {
      if (this.runtime.isWorking || !(await this.sent(consumer))) await asWorker(() => this.runtime.catchUp(consumer));
    } catch (error) {
      this.logger.warn(`${consumer.name} could not run now and is tried again: ${String(error)}`);
    }
  }

  /** False while the transport is away: nobody else is told. One message at a time. */
  private async sent({ name }: Consumer): Promise<boolean> {
    try {
      await this.asking.run(name, () => this.transport.signal([name], true), NEVER);
      return true;
    } catch {
      return false; // the transport itself reports its outage
    }
  }
}

const NEVER = new AbortController().signal;
