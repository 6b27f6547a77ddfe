/** Runs held streams again whose time has come, in as many lanes as the consumer may have batches. */
import type { Consumer } from './consumer.js';
import type { DeadLetter, DeadLetterStore } from './dead-letter-store.js';
import { inLanes, SingleRuns } from './single-runs.js';

const PAGE = 100;

export interface DueRetryPorts {
  readonly letters: Pick<DeadLetterStore, 'list'>;
  /** True when the stream goes on, or went on a bit. Reports its errors. */
  readonly retry: (consumer: Consumer, letter: DeadLetter) => Promise<boolean>;
  readonly lanes: number;
  readonly stop: AbortSignal;
}

export class DueRetries {
  private readonly runs = new SingleRuns();

  constructor(private readonly ports: DueRetryPorts) {}

  /** All that is due for this consumer. Where one does not return, those behind it wait for it, but nobody starts it twice. */
  run(consumer: Consumer): Promise<void> {
    return this.runs.run(consumer.name, () => this.retryAll(consumer), this.ports.stop);
  }

  ended(): Promise<void> {
    return this.runs.ended();
  }

  private async retryAll(consumer: Consumer): Promise<void> {
    const { lanes, letters, stop } = this.ports;
    for (;;) {
      const due = [...(await letters.list({ due: true, consumer: consumer.name, limit: PAGE }))];
      const mayBeMore = due.length === PAGE;
      let moved = false;
      await inLanes(Math.min(consumer.parallelism, lanes, due.length), async () => {
        for (let letter = due.shift(); letter && !stop.aborted; letter = due.shift()) moved = (await this.ports.retry(consumer, letter)) || moved;
      });
      if (!mayBeMore || !moved || stop.aborted) return;
    }
  }
}
