import type { Claim, ClaimRequest, ConsumerRegistration, ConsumerStatus, ConsumerStore } from '../../events/consumer-store.js';
import type { DeadLetterStore } from '../../events/dead-letter-store.js';
import { SHARDS, shardOf } from '../../events/event-log.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { append, EVENT_TYPE, type EventLogUnderTest, pending } from './event-log-under-test.js';
import { upTo } from './expectations.js';
import type { ContractRows } from './unit-of-work-under-test.js';

/** Everything that consumers rest on, in one database: a log without events, no consumer registered, no letter, no row. */
export interface ConsumersUnderTest extends EventLogUnderTest {
  readonly consumers: ConsumerStore;
  readonly letters: DeadLetterStore;
  readonly rows: ContractRows;
}

export const CONSUMER = 'orders.view';

export const registration = (own: Partial<ConsumerRegistration> = {}): ConsumerRegistration => ({
  ...{ name: CONSUMER, kind: 'projection', types: [EVENT_TYPE], version: 1, startFrom: 'beginning' },
  ...own,
});

export const everyShard = upTo(SHARDS).map((i) => i - 1);

/** Streams in shards of their own, by rising shard. */
export const spread = upTo(100)
  .map((i) => `s-${i}`)
  .filter((stream, i, all) => all.findIndex((other) => shardOf('', other) === shardOf('', stream)) === i)
  .sort((a, b) => shardOf('', a) - shardOf('', b));

export const shardsOf = (claim: Claim | undefined): number[] => claim?.checkpoints.map(({ shard }) => shard) ?? [];
export const shardsOfStreams = (...streams: string[]): number[] => streams.map((stream) => shardOf('', stream)).toSorted((a, b) => a - b);

/** One event each, in one unit. */
export const appendTo = (subject: ConsumersUnderTest, ...streams: string[]) => append(subject, ...streams.map((stream) => pending(stream)));

/** A batch's transaction. */
export const inBatch = <T>({ units }: ConsumersUnderTest, work: (unit: Unit) => Promise<T>): Promise<T> => units.run(work, { kind: 'consumer', tries: 1 });

export const claimIn = ({ consumers }: ConsumersUnderTest, unit: Unit, own: Partial<ClaimRequest> = {}): Promise<Claim | undefined> =>
  consumers.claim(unit, { consumer: CONSUMER, exclusive: false, wait: false, ...own });

/** In a batch that ends at once. */
export const claim = (subject: ConsumersUnderTest, own?: Partial<ClaimRequest>): Promise<Claim | undefined> => inBatch(subject, (unit) => claimIn(subject, unit, own));

export async function statusOf({ consumers }: ConsumersUnderTest, consumer = CONSUMER): Promise<ConsumerStatus | undefined> {
  return (await consumers.status()).find((status) => status.consumer === consumer);
}

export async function positions({ consumers }: ConsumersUnderTest): Promise<ReadonlyMap<number, number>> {
  return new Map([...(await consumers.positions([CONSUMER], everyShard)).get(CONSUMER)!].toSorted(([a], [b]) => a - b));
}
