import { Injectable, Logger } from '@nestjs/common';
import { Clock } from '../../kernel/clock.js';
import { asWorker } from '../../kernel/connection-use.js';
import { CommandSettings } from './command-settings.js';
import { CommandStore } from './command-store.js';

const SWEEP_EVERY_MS = 60_000;

/** A worker's share of forgetting old command ids. */
@Injectable()
export class CommandIdSweep {
  private readonly logger = new Logger('Tandem');
  private readonly stopping = new AbortController();
  private loop: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: CommandStore,
    private readonly clock: Clock,
    private readonly settings: CommandSettings,
  ) {}

  start(): void {
    this.loop = asWorker(() => this.sweepUntilStopped());
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.loop;
  }

  private async sweepUntilStopped(): Promise<void> {
    for (;;) {
      await this.clock.sleep(SWEEP_EVERY_MS, this.stopping.signal);
      if (this.stopping.signal.aborted) return;
      try {
        await this.store.sweep(this.settings.keepCommandIdsMs);
      } catch (error) {
        this.logger.warn(`Could not forget old command ids: ${String(error)}`);
      }
    }
  }
}
