/** The consumer engine's stores, for the generation that a rebuild fills: its batches are those of any consumer, with other checkpoints. */
import { type Checkpoint, type Claim, type ClaimRequest, ConsumerStore, type ConsumerState } from '../../../events/consumer-store.js';
import { type DeadLetterStore, type LetterFilter } from '../../../events/dead-letter-store.js';
import type { Unit } from '../../../kernel/unit-of-work.js';
import type { Rebuild, RebuildStore } from './rebuild-store.js';

export class GenerationConsumerStore extends ConsumerStore {
  /** Which state the rebuild must be in for a claim. */
  during: 'filling' | 'swapping' = 'filling';
  /** Why batches may not go on, where that is not in SQL yet. */
  stoppedBy: string | undefined;

  constructor(
    private readonly store: ConsumerStore,
    private readonly rebuilds: RebuildStore,
    private readonly rebuild: Rebuild,
  ) {
    super();
  }

  override claim(unit: Unit, request: ClaimRequest): Promise<Claim | undefined> {
    if (this.stoppedBy !== undefined) return Promise.resolve(undefined);
    return this.store.claim(unit, { ...request, rebuild: { generation: this.rebuild.generation, state: this.during } });
  }

  override advance(unit: Unit, claim: Claim, checkpoints: readonly Checkpoint[]): Promise<void> {
    return this.store.advance(unit, claim, checkpoints);
  }

  /** What halts or pauses a consumer blocks its rebuild; the live generation goes on. A swap first has to be undone by who does it. */
  override async setState(_consumer: string, state: ConsumerState, reason: string | null, unit?: Unit): Promise<void> {
    const why = reason ?? `it was ${state}`;
    if (this.during === 'swapping') this.stoppedBy = why;
    else await this.rebuilds.change(this.rebuild, ['filling'], { state: 'blocked', reason: why }, unit);
  }

  override noteRun: ConsumerStore['noteRun'] = (...of) => this.store.noteRun(...of);
  override register: ConsumerStore['register'] = (registrations) => this.store.register(registrations);
  override registered: ConsumerStore['registered'] = () => this.store.registered();
  override status: ConsumerStore['status'] = () => this.store.status();
  override positions: ConsumerStore['positions'] = (...of) => this.store.positions(...of);
}

/** Letters of one generation only. */
export const lettersOf = (letters: DeadLetterStore, generation: number): Pick<DeadLetterStore, 'list'> => ({
  list: (filter: LetterFilter = {}) => letters.list({ ...filter, generation }),
});
