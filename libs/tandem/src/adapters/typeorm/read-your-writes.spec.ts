import { randomUUID } from 'node:crypto';
import { Entity, type MigrationInterface, PrimaryColumn, type QueryRunner, Table } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import { Consistency } from '../../consistency/consistency.js';
import { ConsistencyGuarantor } from '../../consistency/consistency-guarantor.js';
import { Freshness } from '../../consistency/freshness.js';
import { ReadSide } from '../../consistency/read-side.js';
import { SnapshotFreshRead } from '../../consistency/snapshot-fresh-read.js';
import type { Consumer } from '../../events/consumer.js';
import { ConsumerRegistry } from '../../events/consumer-registry.js';
import { ConsumerRuntime } from '../../events/consumer-runtime.js';
import { DomainEvent } from '../../events/domain-event.js';
import { EventCapture } from '../../events/event-capture.js';
import type { WakeUpTransport } from '../../events/wake-up-transport.js';
import type { ForcedRuns } from '../../events/forced-runs.js';
import type { WakeUps } from '../../events/wake-ups.js';
import { Clock } from '../../kernel/clock.js';
import { isTandemError, type TandemErrorCode } from '../../kernel/errors.js';
import { nextMessage, runWithMessage } from '../../kernel/message-context.js';
import { CacheResult } from '../../read/query-cache/cache-result.js';
import { QueryCache } from '../../read/query-cache/query-cache.js';
import { QueryPath } from '../../read/query/query-path.js';
import { Reads } from '../../read/query/reads.js';
import { SchemaCheck } from './schema-check.js';
import { SqlConsumerStore } from './sql-consumer-store.js';
import { SqlDeadLetterStore } from './sql-dead-letter-store.js';
import { SqlEventLog } from './sql-event-log.js';
import { managerOf } from './sql.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';

@Entity('note_view')
class NoteView {
  @PrimaryColumn('varchar', { length: 36 })
  id!: string;
}
class CreateNoteView1700000000002 implements MigrationInterface {
  name = 'CreateNoteView1700000000002';
  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(new Table({ name: 'note_view', columns: [{ name: 'id', type: 'varchar', length: '36', isPrimary: true }] }));
  }
  async down(): Promise<void> {}
}

@DomainEvent<NoteTaken>('note.taken', { version: 1, stream: (e) => ['note', e.id] })
class NoteTaken {
  constructor(readonly id: string) {}
}
class GetNote {
  constructor(readonly id: string) {}
}
@Reads(NoteView)
@CacheResult()
class GetNoteHandler {}
@Reads(NoteView)
class CountNotesHandler {}

describe.each(sqlBackends())('reading your writes on $name', (backend) => {
  let db: TandemDatabase;
  let capture: EventCapture;
  let runtime: ConsumerRuntime;
  let guarantor: ConsistencyGuarantor;
  let path: QueryPath;
  let cache: QueryCache;
  let poisoned: string | undefined;

  const notes: Consumer = {
    ...{ name: 'notes.view', kind: 'projection', consumerClass: NoteView, events: [NoteTaken], version: 1, startFrom: 'beginning' },
    ...{ parallelism: 4, onError: 'park', runBy: 'worker', entities: [NoteView] },
    async handle(unit, events) {
      const rows = events.map(({ event }) => ({ id: (event as NoteTaken).id }));
      if (rows.some(({ id }) => id === poisoned)) throw new Error('this note cannot be shown');
      await managerOf(unit).insert(NoteView, rows);
    },
  };
  /** Takes a note and returns the token of that. */
  const take = (id: string) =>
    runWithMessage(nextMessage(), async () => {
      await db.units.run(() => Promise.resolve(capture.take([new NoteTaken(id)], () => undefined)));
      return guarantor.currentToken()!;
    });
  const get = (id: string, context = Consistency.eventual()) =>
    path.run(GetNoteHandler, new GetNote(id), context, async () => (await db.dataSource.manager.findOneBy(NoteView, { id }))?.id);
  const failsWith = (code: TandemErrorCode) => expect.toSatisfy((error) => isTandemError(error, code));

  beforeAll(async () => {
    db = await tandemDatabase(backend, { entities: [NoteView], migrations: [CreateNoteView1700000000002] });
    const clock = new Clock();
    const units = db.units as TypeOrmUnitOfWork;
    const log = new SqlEventLog(db.dataSource, db.tables);
    const store = new SqlConsumerStore(db.dataSource, db.tables);
    const letters = new SqlDeadLetterStore(db.dataSource, db.tables);
    const storage = new SchemaCheck(db.dataSource, db.tables);
    await storage.verify();
    const registry = new ConsumerRegistry();
    capture = new EventCapture(units, log);
    const settings = { ...{ batchSize: 100, batchBytes: 1e6, reconcileEveryMs: 1e6, wakeUpWindowMs: 25 }, consumerAttempts: 1, consumerBackoffMs: 1, drainTimeoutMs: 1_000 };
    runtime = new ConsumerRuntime(units, log, store, letters, registry, settings, capture, { committed: () => undefined } as unknown as WakeUps, {} as WakeUpTransport, clock);
    await runtime.register([notes]);
    const freshness = new Freshness(units, new ReadSide(store, letters), log, clock, { ask: () => undefined } as unknown as ForcedRuns);
    guarantor = new ConsistencyGuarantor(freshness, units, registry, storage, log);
    const reads = new SnapshotFreshRead(units, freshness, registry, log, storage);
    cache = new QueryCache(reads);
    path = new QueryPath(cache, reads);
    runtime.onBatch(() => cache.invalidate(['NoteView']));
  });
  afterAll(() => db.drop());
  beforeEach(() => (poisoned = undefined));

  it('shows every caller its own write, from the cache or not, while others write and the projection runs', async () => {
    const over = new AbortController();
    const worker = (async () => {
      while (!over.signal.aborted) {
        await new Clock().sleep(15);
        await runtime.catchUp(notes);
      }
    })();
    const caller = async () => {
      for (let i = 0; i < 8; i++) {
        const id = randomUUID();
        await get(id); // so that "there is none" is in the cache
        const token = await take(id);
        // The first has waited for the change, so it is not kept; the second may be, for the third.
        for (let again = 0; again < 3; again++) expect(await get(id, Consistency.readYourWrites(token))).toBe(id);
      }
    };
    const outcomes = await Promise.allSettled([caller(), caller(), caller(), caller()]);
    over.abort();
    await worker;
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([]);
    expect(cache.counts.hits).toBeGreaterThan(0);
  });

  it('tells that the projection has not followed, and answers once it has', async () => {
    const id = randomUUID();
    const token = await take(id);
    await expect(get(id, Consistency.readYourWrites(token, { deadlineMs: 50 }))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_TIMEOUT'));
    expect(await get(id, Consistency.readYourWrites(token, { deadlineMs: 50, onTimeout: 'stale' }))).toBeUndefined();
    await expect(get(id, Consistency.strong({ deadlineMs: 50 }))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_TIMEOUT'));
    await runtime.catchUp(notes);
    expect(await get(id, Consistency.strong())).toBe(id);
    expect(await get(id, Consistency.readYourWrites(token))).toBe(id);
  });

  it('calls nothing fresh whose event is a dead letter, and others go on', async () => {
    const [bad, good] = [randomUUID(), randomUUID()];
    poisoned = bad;
    const [badToken, goodToken] = [await take(bad), await take(good)];
    await runtime.catchUp(notes);
    await expect(get(bad, Consistency.readYourWrites(badToken))).rejects.toThrow(failsWith('TANDEM_CONSISTENCY_HELD'));
    expect(await get(good, Consistency.readYourWrites(goodToken))).toBe(good);
  });

  it('reads one moment only, and lets no query write', async () => {
    const counts = path.run(CountNotesHandler, new GetNote(''), undefined, async () => {
      const before = await db.dataSource.manager.count(NoteView);
      if (backend.name !== 'pglite') {
        await db.units.outside(() => take(randomUUID()));
        await db.units.outside(() => runtime.catchUp(notes));
      }
      return [before, await db.dataSource.manager.count(NoteView)];
    });
    const [before, after] = (await counts) as [number, number];
    expect(after).toBe(before);
    const writing = path.run(CountNotesHandler, new GetNote(''), undefined, () => db.dataSource.manager.insert(NoteView, { id: randomUUID() }));
    await expect(writing).rejects.toThrow(failsWith('TANDEM_QUERY_WROTE'));
  });
});
