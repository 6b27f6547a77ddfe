/**
 * No event is skipped, repeated or seen out of order, however transactions are interleaved: 32 writers, one transaction in twenty
 * stands still between append and COMMIT, one in twenty rolls back. `mutants.e2e.spec.ts` shows that the same writers and the
 * same comparison find what simpler designs lose.
 *
 * `TANDEM_PROOF_EVENTS` sets how many events, `TANDEM_PROOF_SEED` what is written; how it interleaves is the machine's.
 */
import { describe, expect, it } from 'vitest';
import { sqlBackends } from '../support/backends.js';
import { seedOf } from '../support/dice.js';
import type { Ledger } from './ledger.js';
import { LogCheck, RIGHT_ROWS, SOUND_LOG } from './tandem/log-check.js';
import { TandemSubject } from './tandem/tandem-subject.js';
import { NO_VIOLATIONS, violationsOf } from './violations.js';
import { type Traffic, Writers } from './writers.js';

const THINGS = 300;
const PATIENCE = 900_000;
/** PGlite runs one transaction at a time, so that every pause is everybody's. */
const ON_PGLITE = 4_000;
const EVENTS = Number(process.env.TANDEM_PROOF_EVENTS ?? 100_000);

/** A run without pauses and rollbacks, or one in which hardly anything was committed, would prove little. */
function expectTrouble({ contradictions, counts, refused }: Ledger): void {
  expect(contradictions).toEqual([]);
  expect(counts.paused).toBeGreaterThan(0);
  expect(counts.rolledBack).toBeGreaterThan(0);
  expect([...refused.values()].reduce((sum, count) => sum + count, 0)).toBeLessThan(counts.transactions / 20);
}

describe.each(sqlBackends())('on $name', (backend) => {
  const events = backend.name === 'pglite' ? Math.min(EVENTS, ON_PGLITE) : EVENTS;
  const say = (text: string) => void process.stderr.write(`proof on ${backend.name}: ${text}\n`);

  it(
    `${events} events of 32 writers are seen once and in order by every consumer, and the log has no holes`,
    async () => {
      const seed = seedOf('TANDEM_PROOF_SEED');
      const start = Date.now();
      const seconds = () => `${((Date.now() - start) / 1_000).toFixed(0)} s`;
      say(`seed ${seed}`);
      const subject = await TandemSubject.start(backend, { things: THINGS });
      try {
        const traffic: Traffic = { seed, things: THINGS, pauseMs: backend.name === 'pglite' ? 200 : 2_000, progress: (count) => say(`${count} events after ${seconds()}`) };
        const writers = new Writers(subject, traffic);
        await writers.until(events);
        const { ledger } = writers;
        say(`${ledger.committed.size} events written after ${seconds()}: ${JSON.stringify(ledger.counts)}, refused ${JSON.stringify([...ledger.refused])}`);
        const seenMeanwhile = (await subject.seen()).map(({ ids }) => ids.length);
        await subject.settled();
        say(`read after ${seconds()}, ${String(seenMeanwhile)} of it while they wrote`);

        expectTrouble(ledger);
        if (backend.name !== 'pglite') for (const count of seenMeanwhile) expect(count).toBeGreaterThan(0);
        const check = await LogCheck.read(subject.source, ledger);
        expect(await check.log()).toEqual(SOUND_LOG);
        expect(check.count).toBe(ledger.committed.size);
        for (const seen of await subject.seen()) expect(violationsOf(seen, ledger)).toEqual(NO_VIOLATIONS);
        expect(await check.rows()).toEqual(RIGHT_ROWS);
      } finally {
        await subject.end();
      }
    },
    PATIENCE,
  );
});
