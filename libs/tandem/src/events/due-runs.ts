/** Which consumers that wait for something may run now: one look at SQL for all that are asked about, whatever any process remembers. */
import { type Consumer, typesOf } from './consumer.js';
import type { ConsumerStatus, ConsumerStore } from './consumer-store.js';
import { type EventLog, SHARDS } from './event-log.js';
import { type BatchedRuns, batchedVerdict, countedUpTo, passingOver, scheduledVerdict, type Verdict } from './run-condition.js';

const AT_ONCE: Verdict = { runs: true };
const NOTHING: Verdict = { runs: false };
const ALL_SHARDS: readonly number[] = Array.from({ length: SHARDS }, (_, shard) => shard);

interface Batched {
  readonly consumer: Consumer;
  readonly condition: BatchedRuns;
}

export class DueRuns {
  constructor(private readonly ports: { readonly store: ConsumerStore; readonly log: EventLog }) {}

  /** Of a consumer that was woken. */
  async verdictOn(consumer: Consumer): Promise<Verdict> {
    const { name, waitsFor } = consumer;
    if (!waitsFor) return AT_ONCE;
    if (waitsFor.kind === 'batched') return (await this.counted([{ consumer, condition: waitsFor }], ALL_SHARDS)).get(name)!;
    const status = (await this.ports.store.status()).find((each) => each.consumer === name);
    return status ? this.verdicts([consumer], [status]).then((verdicts) => verdicts.get(name)!) : NOTHING;
  }

  /** By name, of consumers with these statuses. */
  async verdicts(consumers: readonly Consumer[], statuses: readonly ConsumerStatus[]): Promise<ReadonlyMap<string, Verdict>> {
    const verdicts = new Map<string, Verdict>();
    const batched: Batched[] = [];
    const shards = new Set<number>();
    const byName = new Map(statuses.map((status) => [status.consumer, status]));
    for (const consumer of consumers) {
      const { name, waitsFor } = consumer;
      const { lag, laggingShards, lastRunAt, readAt } = byName.get(name)!;
      if (waitsFor?.kind === 'scheduled') verdicts.set(name, scheduledVerdict(waitsFor, lastRunAt?.getTime(), readAt.getTime()));
      else if (lag === 0) verdicts.set(name, NOTHING);
      else if (!waitsFor) verdicts.set(name, AT_ONCE);
      else {
        batched.push({ consumer, condition: waitsFor });
        for (const shard of laggingShards) shards.add(shard);
      }
    }
    if (batched.length === 0) return verdicts;
    for (const [name, verdict] of await this.counted(batched, [...shards])) {
      // It is behind, though there is nothing: somebody was faster, or it is ahead of a log that went back, which a batch finds out.
      const nothing = !verdict.runs && verdict.dueInMs === undefined;
      verdicts.set(name, nothing ? passingOver(byName.get(name)!.readAt.getTime() * 1_000) : verdict);
    }
    return verdicts;
  }

  private async counted(batched: readonly Batched[], shards: readonly number[]): Promise<ReadonlyMap<string, Verdict>> {
    const { log, store } = this.ports;
    const positions = await store.positions(
      batched.map(({ consumer }) => consumer.name),
      shards,
    );
    const { nowMicros, waiting } = await log.count(
      batched.map(({ condition, consumer }) => ({ after: positions.get(consumer.name)!, types: typesOf(consumer), upTo: countedUpTo(condition) })),
    );
    return new Map(batched.map(({ condition, consumer: { name } }, index) => [name, batchedVerdict(condition, waiting[index]!, nowMicros)]));
  }
}
