/** Folds a command's own events into `immediate` projections, in the command's transaction and before its COMMIT. */
import type { Clock } from '../kernel/clock.js';
import type { Unit } from '../kernel/unit-of-work.js';
import { type Consumer, EventFailure } from './consumer.js';
import type { BatchPorts, BatchResult, ConsumerBatch } from './consumer-batch.js';
import type { ConsumerRegistry } from './consumer-registry.js';
import type { AppendListener } from './event-capture.js';
import type { Claim } from './consumer-store.js';
import type { StoredEvent } from './event-log.js';

/** Told what became of a fold, after the command's COMMIT. */
type Report = (consumer: Consumer, result: BatchResult) => void;

/** MariaDB may show a later commit without an earlier one, for a moment. */
const GAP_TRIES = 20;
/** How long a command that holds a shard waits for rebuilt rows to take the place of the live ones, in milliseconds. */
const SWAP_WAIT_MS = 500;
const SWAP_PAUSE_MS = 5;

export class CommandFold implements AppendListener {
  constructor(
    private readonly ports: Pick<BatchPorts, 'store' | 'units'>,
    private readonly registry: ConsumerRegistry,
    private readonly batch: ConsumerBatch,
    private readonly report: Report,
    private readonly clock: Clock,
  ) {}

  wants(types: ReadonlySet<string>): boolean {
    return this.foldedFor(types).length > 0;
  }

  /** @throws what a handler threw for one of the command's own events. */
  async appended(unit: Unit, events: readonly StoredEvent[]): Promise<void> {
    // By name, so that two commands lock two projections in the same order.
    const consumers = this.foldedFor(new Set(events.map(({ type }) => type))).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    for (const consumer of consumers) await this.foldOne(unit, consumer, events);
  }

  private foldedFor(types: ReadonlySet<string>): readonly Consumer[] {
    return this.registry.handling(types).filter(({ runBy }) => runBy === 'command');
  }

  private async foldOne(unit: Unit, consumer: Consumer, appended: readonly StoredEvent[]): Promise<void> {
    const shards = [...new Set(appended.map(({ shard }) => shard))];
    const claim = await this.claim(unit, consumer, shards);
    if (!claim || claim.state === 'swapping') return;
    if (standsRightBefore(claim, appended)) {
      try {
        if (await this.batch.handleAppended(unit, consumer, claim, appended)) unit.afterCommit(() => this.report(consumer, { handled: appended.length, more: false }));
      } catch (error) {
        throw error instanceof EventFailure ? error.cause : error;
      }
    } else await this.foldFrom(unit, consumer, claim, appended);
  }

  /**
   * While it is being swapped, nothing may be folded. A swap takes milliseconds, so the command waits for it; where it takes long, the command commits without, and
   * a worker folds its events when the swap is over. Of an unpartitioned projection it holds a lock that the swap needs: it cannot wait.
   */
  private async claim(unit: Unit, consumer: Consumer, shards: readonly number[]): Promise<Claim | undefined> {
    const exclusive = consumer.parallelism === 1;
    const until = this.clock.now() + (exclusive ? 0 : SWAP_WAIT_MS);
    for (;;) {
      const claim = await this.ports.store.claim(unit, { consumer: consumer.name, exclusive, shards, wait: true });
      if (claim?.state !== 'swapping' || this.clock.now() >= until) return claim;
      await this.clock.sleep(SWAP_PAUSE_MS);
    }
  }

  /** Older events wait in front of the command's own (an older version of the code has appended them): they are folded first. */
  private async foldFrom(unit: Unit, consumer: Consumer, claim: Claim, appended: readonly StoredEvent[]): Promise<void> {
    const heads = new Map<number, number>();
    for (const { shard, seq } of appended) heads.set(shard, Math.max(seq, heads.get(shard) ?? 0));
    const own = new Set(appended.map(({ eventId }) => eventId));
    let claimed = claim;
    let gaps = 0;
    for (;;) {
      const result = await this.batch.run({
        consumer,
        claim: async () => claimed,
        heads: async () => ({ heads, cutMicros: Number.MAX_SAFE_INTEGER }),
        attempt: (work) => this.ports.units.run(work, { kind: unit.kind }),
        isOwn: (event) => own.has(event.eventId),
      });
      if (result) unit.afterCommit(() => this.report(consumer, result));
      // A hole that stays: a worker closes it, and folds what the command has left.
      if (!result?.more || (result.gap && ++gaps === GAP_TRIES)) return;
      claimed = (await this.ports.store.claim(unit, { consumer: consumer.name, exclusive: false, shards: [...heads.keys()], wait: true })) ?? claim;
    }
  }
}

/** Nothing older waits in the shards that the command has appended to. */
function standsRightBefore(claim: Claim, appended: readonly StoredEvent[]): boolean {
  const first = new Map<number, number>();
  for (const { shard, seq } of appended) first.set(shard, Math.min(seq, first.get(shard) ?? Infinity));
  return claim.checkpoints.every(({ shard, seq }) => seq === first.get(shard)! - 1);
}
