import { Injectable } from '@nestjs/common';
import { currentMessage, nextMessage } from '../kernel/message-context.js';
import { UnitOfWork } from '../kernel/unit-of-work.js';
import { JobOutbox, newJob } from './job-outbox.js';

export interface EnqueueOptions {
  /** Of two jobs with one key the first stays, for as long as its row is kept. */
  readonly dedupeKey?: string;
}

/** Queues commands: inside a unit of work with its COMMIT, outside in a transaction of its own. */
@Injectable()
export class DurableJobs {
  constructor(
    private readonly units: UnitOfWork,
    private readonly outbox: JobOutbox,
  ) {}

  /** `created` is false when a job with this dedupe key existed. @throws TANDEM_WIRING for a command without `@QueuedCommand`. */
  async enqueue(command: object, options: EnqueueOptions = {}): Promise<{ readonly id: string; readonly created: boolean }> {
    const job = newJob(command, currentMessage() ?? nextMessage(), options.dedupeKey ?? null);
    const unit = this.units.current;
    const created = await (unit?.kind === 'write' ? this.outbox.put(unit, [job]) : this.units.run((own) => this.outbox.put(own, [job])));
    return { id: job.id, created: created.length > 0 };
  }
}
