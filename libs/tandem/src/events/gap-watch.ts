import { Logger } from '@nestjs/common';
import type { Clock } from '../kernel/clock.js';
import type { EventLog, Position } from './event-log.js';

/** MariaDB may show a later commit without an earlier one, for a moment. What is missing for longer will never come. */
const STAYS_AFTER_MS = 2_000;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;

/** Watches a number of a shard that is not there while later ones are taken: first waits for it, then has the log close the hole. */
export class GapWatch {
  private readonly logger = new Logger('Tandem');
  private at: Position | undefined;
  private since = 0;
  private pauseMs = FIRST_PAUSE_MS;

  constructor(
    private readonly log: EventLog,
    private readonly clock: Clock,
  ) {}

  /** How long to wait before the next look; undefined where there is no gap. @throws what closing the hole throws. */
  async pauseAt(gap: Position | undefined): Promise<number | undefined> {
    if (gap?.shard !== this.at?.shard || gap?.seq !== this.at?.seq) {
      this.at = gap;
      this.since = this.clock.now();
      this.pauseMs = FIRST_PAUSE_MS;
    }
    if (!gap) return undefined;
    if (this.clock.now() - this.since >= STAYS_AFTER_MS) await this.close(gap);
    this.pauseMs = Math.min(LONGEST_PAUSE_MS, this.pauseMs * 2);
    return this.pauseMs;
  }

  private async close(gap: Position): Promise<void> {
    const missing = await this.log.closeHole(gap);
    if (missing > 0)
      this.logger.warn(
        `Shard ${gap.shard} of the log lacked ${missing} events from number ${gap.seq} on, which stopped its readers: their numbers were taken by an append that failed, and are passed over now`,
      );
  }
}
