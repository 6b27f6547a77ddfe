/**
 * Waits until projections have passed what is demanded, and runs the work in the very snapshot that shows it. One *attempt* is one
 * snapshot: look at the checkpoints, and either run the work in it or end it and try again later. A query inside the work that
 * demands more than its snapshot has spoils the attempt: it is repeated as a whole, with that demand too.
 */
import { Injectable } from '@nestjs/common';
import type { Consumer } from '../events/consumer.js';
import { EventLog } from '../events/event-log.js';
import { ForcedRuns } from '../events/forced-runs.js';
import { Clock } from '../kernel/clock.js';
import { TandemError } from '../kernel/errors.js';
import { currentMessage } from '../kernel/message-context.js';
import { type Unit, UnitOfWork } from '../kernel/unit-of-work.js';
import type { Reading } from '../read/query/fresh-read.js';
import { mergeTokens, type TokenContents } from './consistency-token.js';
import { type Look, type LookFor, ReadSide } from './read-side.js';
import { RetryPolicy } from './retry-policy.js';

export interface Wanted extends LookFor {
  readonly deadlineMs: number;
  readonly onTimeout: 'error' | 'stale';
}

/** What an attempt knows; kept in the notes of its snapshot, for the queries inside. */
interface Attempt {
  want: Wanted;
  readonly givingUp: boolean;
  spoiltBy?: Look;
}

type Outcome<T> = { readonly reading: Reading<T> } | { readonly look: Look };

const ATTEMPT = Symbol('tandem:fresh-read-attempt');
/** An attempt also sees dead letters, which may end the wait. */
const ATTEMPT_AT_LEAST_EVERY_MS = 500;
const SNAPSHOT = { kind: 'snapshot' } as const;

@Injectable()
export class Freshness {
  constructor(
    private readonly units: UnitOfWork,
    private readonly readSide: ReadSide,
    private readonly log: EventLog,
    private readonly clock: Clock,
    private readonly forced: ForcedRuns,
  ) {}

  /** Outside of any unit. @throws TANDEM_CONSISTENCY_TIMEOUT, TANDEM_CONSISTENCY_HELD, TANDEM_TOKEN_INVALID, and what `work` throws. */
  async run<T>(wanted: Wanted, work: () => Promise<T>): Promise<Reading<T>> {
    if (!wanted.target && !wanted.keepPositions) return { value: await this.units.run(work, SNAPSHOT), passed: undefined };
    const started = this.clock.now();
    const pauses = new RetryPolicy({ deadlineMs: wanted.deadlineMs }).delays(() => this.clock.now() - started);
    const signal = currentMessage()?.signal;
    let want = wanted;
    for (let first = true; ; first = false) {
      const attempt: Attempt = { want, givingUp: false };
      const outcome = await this.attempt(attempt, work);
      if ('reading' in outcome) return outcome.reading;
      want = attempt.want;
      if (first) await this.refuseBeyondHeads(want.target);
      const stuck = outcome.look.held.some(({ state }) => state === 'parked');
      if (!stuck) this.force(want.consumers, outcome.look, first);
      if (stuck || !(await this.untilWorthwhile(want, pauses, signal))) return this.giveUp(want, outcome.look, work);
    }
  }

  /** Those that would let the wait run out; later the others too, since a wake-up may be lost, or the processes that run them have them wait. */
  private force(consumers: readonly Consumer[], { lagging }: Look, first: boolean): void {
    this.forced.ask(consumers.filter(({ name, waitsFor }) => lagging.includes(name) && (waitsFor || !first)));
  }

  /** Pauses until another attempt may succeed: many waits share one look at the checkpoints, while each attempt takes a connection. False when the time is up. */
  private async untilWorthwhile(want: LookFor, pauses: Generator<number, void>, signal: AbortSignal | undefined): Promise<boolean> {
    const since = this.clock.now();
    for (;;) {
      const pause = signal?.aborted ? undefined : pauses.next().value;
      if (pause === undefined) return false;
      await this.clock.sleep(pause, signal);
      if (this.clock.now() - since >= ATTEMPT_AT_LEAST_EVERY_MS || (await this.readSide.havePassed(want))) return true;
    }
  }

  /** For a query inside the open unit: lets it go on, or throws. */
  async requireWithin(unit: Unit, want: LookFor): Promise<void> {
    const attempt = unit.notes.get(ATTEMPT) as Attempt | undefined;
    if (attempt?.givingUp) return;
    const look = await this.readSide.look(unit, want);
    if (look.fresh) return;
    if (!attempt) throw inUnit('A query inside a unit of work needs what the projections have not reached yet');
    attempt.spoiltBy = look;
    attempt.want = both(attempt.want, want);
    throw notFresh(attempt.want, look);
  }

  private async attempt<T>(attempt: Attempt, work: () => Promise<T>): Promise<Outcome<T>> {
    const { want } = attempt;
    try {
      return await this.units.run(async (unit) => {
        attempt.spoiltBy = undefined;
        const look = await this.readSide.look(unit, want);
        if (!look.fresh && !attempt.givingUp) return { look };
        unit.notes.set(ATTEMPT, attempt);
        const value = await work();
        return attempt.spoiltBy ? { look: attempt.spoiltBy } : { reading: { value, passed: look.passed } };
      }, SNAPSHOT);
    } catch (error) {
      if (attempt.spoiltBy) return { look: attempt.spoiltBy };
      throw error;
    }
  }

  private async giveUp<T>(want: Wanted, look: Look, work: () => Promise<T>): Promise<Reading<T>> {
    if (want.onTimeout === 'error') throw notFresh(want, look);
    const outcome = await this.attempt({ want, givingUp: true }, work);
    if ('look' in outcome) throw notFresh(want, outcome.look);
    return outcome.reading;
  }

  /** A token that has not been reached is either of a moment ago or of a log that this one is not. */
  private async refuseBeyondHeads(target: TokenContents | undefined): Promise<void> {
    if (!target) return;
    const { heads } = await this.log.heads(undefined, [...target.positions.keys()]);
    for (const [shard, seq] of target.positions) {
      if (seq > (heads.get(shard) ?? 0))
        throw new TandemError('TANDEM_TOKEN_INVALID', 'This consistency token names events that are not in the log: it is of another log, or the log went back');
    }
  }
}

export const inUnit = (what: string): TandemError => new TandemError('TANDEM_CONSISTENCY_IN_UNIT', what);

function both(a: Wanted, b: LookFor): Wanted {
  const target = a.target && b.target ? mergeTokens(a.target, b.target) : (a.target ?? b.target);
  return { ...a, consumers: [...new Set([...a.consumers, ...b.consumers])], target };
}

function notFresh({ deadlineMs }: Wanted, { held, lagging }: Look): TandemError {
  if (held.length > 0) {
    const projections = [...new Set(held.map(({ consumer }) => consumer))];
    return new TandemError('TANDEM_CONSISTENCY_HELD', `${projections.join(', ')} could not handle ${held.length === 1 ? 'an event' : 'events'} of this write`, {
      data: { projections, events: held.map(({ eventId, type }) => ({ eventId, type })) },
    });
  }
  return new TandemError('TANDEM_CONSISTENCY_TIMEOUT', `${lagging.join(', ')} had not reached this write after ${deadlineMs} ms`, { data: { projections: lagging, deadlineMs } });
}
