/**
 * What a method of a durable saga returns, as a list of outputs. It must be complete when the method has settled: what comes later belongs to no
 * event any more, since the transaction that read it is over, so it is reported and lost.
 */
import { Logger } from '@nestjs/common';
import { isObservable, type Observable, Subscriber } from 'rxjs';
import { TandemError } from '../../kernel/errors.js';
import { inTime } from '../../kernel/in-time.js';
import { ExternalJob } from '../../jobs/external-job.js';
import { queuedCommandOf } from '../../jobs/queued-command.js';

/** Of one method for one event: more is a loop, or an import. */
export const MAX_OUTPUTS = 1_000;

/** One call of a saga's method. */
export interface SagaCall {
  readonly saga: string;
  /** Class and method, for messages. */
  readonly where: string;
  readonly eventId: string;
  readonly timeoutMs: number;
}

/** @throws TANDEM_SAGA_OUTPUT for what is no queued command, and for too many; TANDEM_HANDLER_TIMEOUT; what the method throws. */
export async function outputsOf(call: SagaCall, returned: unknown): Promise<readonly object[]> {
  const collecting = new Collecting(call);
  try {
    return await inTime(collecting.all(returned), call.timeoutMs, call.where);
  } finally {
    collecting.end();
  }
}

/** What becomes a job. */
const isQueueable = (output: object): boolean => output instanceof ExternalJob || queuedCommandOf(output.constructor) !== undefined;

class Collecting {
  private isOver = false;
  private isReported = false;
  private subscriber: WatchedSubscriber | undefined;

  constructor(private readonly call: SagaCall) {}

  async all(returned: unknown): Promise<readonly object[]> {
    const result = await this.unlessLate(returned);
    if (result === undefined || result === null) return [];
    if (isObservable(result)) return this.observed(result);
    // Frozen, so that what is pushed later fails where it is pushed, instead of being lost without a word.
    const list = Array.isArray(result) ? (Object.freeze(result) as readonly unknown[]) : [result];
    if (list.length > MAX_OUTPUTS) throw tooMany(this.call);
    return list.map((output) => this.checked(output));
  }

  /** The method has settled or its time is up. */
  end(): void {
    this.isOver = true;
    this.subscriber?.unsubscribe();
  }

  private async unlessLate(returned: unknown): Promise<unknown> {
    let result: unknown;
    try {
      result = await returned;
    } catch (error) {
      if (this.isOver) this.late(`failed: ${String(error)}`);
      throw error;
    }
    if (this.isOver && result !== undefined && result !== null) this.late('returned something');
    return this.isOver ? undefined : result;
  }

  private observed(source: Observable<unknown>): Promise<readonly object[]> {
    return new Promise((resolve, reject) => {
      const outputs: object[] = [];
      const subscriber = new WatchedSubscriber(
        {
          next: (output) => {
            try {
              if (outputs.length === MAX_OUTPUTS) throw tooMany(this.call);
              outputs.push(this.checked(output));
            } catch (error) {
              reject(error as Error);
              subscriber.unsubscribe();
            }
          },
          error: reject,
          complete: () => resolve(outputs),
        },
        () => this.late('emitted something'),
      );
      this.subscriber = subscriber;
      source.subscribe(subscriber);
    });
  }

  private checked(output: unknown): object {
    if (typeof output === 'object' && output !== null && isQueueable(output)) return output;
    const { saga, where } = this.call;
    throw new TandemError('TANDEM_SAGA_OUTPUT', `${where} of the saga "${saga}" returned ${described(output)}, which is no queued command`, { data: { saga, method: where } });
  }

  private late(did: string): void {
    if (this.isReported) return;
    this.isReported = true;
    const { eventId, saga, where } = this.call;
    const error = new TandemError('TANDEM_SAGA_LATE_OUTPUT', `${where} of the saga "${saga}" ${did} for event ${eventId} after it had settled or run out of time`);
    new Logger('Tandem').error(`${error.code}: ${error.message}`);
  }
}

/** Also sees what comes after its end, which RxJS drops without a word: where nothing stands between it and the source. */
class WatchedSubscriber extends Subscriber<unknown> {
  constructor(
    observer: ConstructorParameters<typeof Subscriber<unknown>>[0] & object,
    private readonly onLate: () => void,
  ) {
    super(observer as never);
  }

  override next(value?: unknown): void {
    if (this.closed) this.onLate();
    else super.next(value);
  }
}

const tooMany = ({ saga, where }: SagaCall): TandemError =>
  new TandemError('TANDEM_SAGA_OUTPUT', `${where} of the saga "${saga}" returned more than ${MAX_OUTPUTS} outputs for one event`, {
    data: { saga, method: where },
    next: 'Return one command that does the work in parts, or look for an Observable that does not complete.',
  });

function described(output: unknown): string {
  if (output === null || typeof output !== 'object') return output === null ? 'null' : `${typeof output === 'undefined' ? 'undefined' : `a ${typeof output}`}`;
  if (Array.isArray(output)) return 'a list in a list';
  return `a ${output.constructor?.name ?? 'nameless object'}`;
}
