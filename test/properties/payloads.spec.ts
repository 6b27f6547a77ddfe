/** Whatever code puts into an event or a queued command comes back from the database as it was, or is refused with the path of what is wrong. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SqlEventLog } from '../../libs/tandem/src/adapters/typeorm/sql-event-log.js';
import { SqlJobStore } from '../../libs/tandem/src/adapters/typeorm/sql-job-store.js';
import type { EventLog, PendingEvent } from '../../libs/tandem/src/events/event-log.js';
import { decodePayload, encodePayload, MAX_PAYLOAD_BYTES } from '../../libs/tandem/src/events/payload.js';
import type { JobStore } from '../../libs/tandem/src/jobs/job-store.js';
import { newId } from '../../libs/tandem/src/kernel/new-id.js';
import { sqlBackends } from '../support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../support/tandem-database.js';
import { badPaths, message } from './payload-values.js';

class Sample {
  constructor(members: object) {
    Object.assign(this, members);
  }
}
const INLINE_BYTES = 2_000;

interface Refusal {
  readonly code: string;
  readonly data: { readonly path: string; readonly bytes?: number };
}

/** Its text, or why it was refused. */
function encoded(members: object): { readonly text: string } | { readonly refusal: Refusal } {
  try {
    return { text: encodePayload('sample', new Sample(members)) };
  } catch (error) {
    return { refusal: error as Refusal };
  }
}

const decoded = (text: string): object => decodePayload(Sample, text);

/** Refused for a reason: the path is that of something bad, or of the part that is too large. */
function expectRefused(members: object, { code, data: { bytes, path } }: Refusal): void {
  expect(code).toBe('TANDEM_PAYLOAD_REFUSED');
  if (bytes === undefined) expect(badPaths(members)).toContain(path);
  else expect([badPaths(members), bytes > MAX_PAYLOAD_BYTES, Object.keys(members).some((name) => path.startsWith(name))]).toEqual([[], true, true]);
}

/** The texts of those that were not refused, each with what it must be read back as. */
function accepted(messages: readonly object[]): { readonly texts: string[]; readonly originals: object[] } {
  const texts: string[] = [];
  const originals: object[] = [];
  for (const members of messages) {
    const result = encoded(members);
    if ('refusal' in result) expectRefused(members, result.refusal);
    else {
      expect(badPaths(members)).toEqual([]);
      texts.push(result.text);
      originals.push(new Sample(members));
    }
  }
  return { texts, originals };
}

const messages = fc.array(message, { minLength: 60, maxLength: 120, size: 'max' });

describe.each(sqlBackends())('payloads on $name', (backend) => {
  let db: TandemDatabase;
  let log: EventLog;
  let jobs: JobStore;

  beforeAll(async () => {
    db = await tandemDatabase(backend);
    log = new SqlEventLog(db.dataSource, db.tables);
    jobs = new SqlJobStore(db.dataSource, db.tables);
  });
  afterAll(() => db.drop());

  const pending = (payload: string, stream: string): PendingEvent => ({
    ...{ eventId: newId(), tenant: '', stream, type: 'sample', schemaVersion: 1 },
    ...{ payload, metadata: '{}', expected: 'any' as const },
  });

  it('of events come back from the log as they were, however they are read, or are refused with their path', async () => {
    await fc.assert(
      fc.asyncProperty(messages, async (given) => {
        const { originals, texts } = accepted(given);
        const stream = `sample-${newId()}`;
        const stored = await db.units.run((unit) =>
          log.append(
            unit,
            texts.map((text) => pending(text, stream)),
          ),
        );
        const { shard, seq } = stored[0]!;
        const ofBatch = await db.units.run(
          async (unit) => log.readEvents(unit, await log.readKeys(unit, [{ shard, after: seq - 1, upTo: seq - 1 + stored.length }], { types: ['sample'], maxBytes: INLINE_BYTES })),
          { kind: 'consumer' },
        );
        for (const read of [stored, ofBatch, await log.readStream('', stream)]) expect(read.map(({ payload }) => decoded(payload))).toStrictEqual(originals);
      }),
      { numRuns: 15, interruptAfterTimeLimit: 60_000 },
    );
  });

  it('of jobs come back as they were', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 20, maxLength: 30, size: 'max' }), async (given) => {
        const { originals, texts } = accepted(given);
        const tickets = await db.units.run((unit) =>
          jobs.insert(
            unit,
            texts.map((payload) => ({ ...{ id: newId(), name: 'sample', queue: 'q', payload, metadata: '{}', dedupeKey: null, delayMs: 0, priority: 0, sequenceKey: null } })),
          ),
        );
        const claimed = await Promise.all(tickets.map((ticket) => jobs.claim(ticket, 60_000)));
        expect(claimed.map((job) => decoded(job!.payload))).toStrictEqual(originals);
      }),
      { numRuns: 5, interruptAfterTimeLimit: 60_000 },
    );
  });
});
