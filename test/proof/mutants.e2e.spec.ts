/**
 * Simpler designs, each with one rule of the library broken, under the same writers and compared in the same way as in
 * `nothing-lost.e2e.spec.ts`. Each has to be found out: a comparison that finds nothing here would prove nothing there.
 */
import { describe, expect, it } from 'vitest';
import { describeServers, type SqlBackend, sqlBackends, sqlServers } from '../support/backends.js';
import { Dice, seedOf } from '../support/dice.js';
import { checkpointApart, numbersApart } from './mutants/changed-parts.js';
import { JoinedHeads } from './mutants/joined-heads.js';
import { TailedId } from './mutants/tailed-id.js';
import type { Subject } from './subject.js';
import { LogCheck, type LogViolations } from './tandem/log-check.js';
import { TandemSubject } from './tandem/tandem-subject.js';
import { type Violations, violationsOf } from './violations.js';
import { type Traffic, Writers } from './writers.js';

const PATIENCE = 600_000;
const THINGS = 100;

interface Hunt {
  /** Events between two comparisons. */
  readonly step: number;
  /** Events after which the mutant counts as not found. */
  readonly most: number;
  readonly traffic?: Partial<Traffic>;
}

type Counts = Record<keyof Violations, number>;

/** Writes until a consumer has a violation. @throws when none came */
async function found(subject: Subject, { step, most, traffic }: Hunt, enough: (counts: Counts) => boolean): Promise<Counts> {
  const seed = seedOf('TANDEM_PROOF_SEED');
  const writers = new Writers(subject, { seed, pauseMs: 200, things: THINGS, ...traffic });
  for (let events = step; events <= most; events += step) {
    await writers.until(events);
    await subject.settled();
    for (const seen of await subject.seen()) {
      const counts = Object.fromEntries(Object.entries(violationsOf(seen, writers.ledger)).map(([kind, ids]) => [kind, (ids as string[]).length])) as Counts;
      if (!enough(counts)) continue;
      process.stderr.write(`found after ${writers.ledger.committed.size} events: ${JSON.stringify(counts)}\n`);
      return counts;
    }
  }
  throw new Error(`The mutant lost nothing in ${most} events (seed ${seed})`);
}

async function ended<S extends Subject & { end(): Promise<void> }, T>(subject: S, work: (subject: S) => Promise<T>): Promise<T> {
  try {
    return await work(subject);
  } finally {
    await subject.end();
  }
}

describeServers('found out on $name', sqlServers(), (backend) => {
  it(
    'a reader that tails an auto-increment id skips events',
    async () => {
      const counts = await ended(await TailedId.start(backend), (subject) => found(subject, { step: 2_000, most: 100_000 }, ({ skipped }) => skipped > 0));
      expect(counts).toMatchObject({ repeated: 0, neverCommitted: 0 });
    },
    PATIENCE,
  );

  it.runIf(backend.name === 'mariadb')(
    'a reader that joins heads and events in one statement skips events',
    async () => {
      const traffic = { facts: 1, paused: 0, things: 8 };
      const counts = await ended(await JoinedHeads.start(backend), (subject) => found(subject, { step: 5_000, most: 1_000_000, traffic }, ({ skipped }) => skipped > 0));
      expect(counts).toMatchObject({ repeated: 0, neverCommitted: 0 });
    },
    PATIENCE,
  );

  it(
    'numbers that are taken without holding their shard until COMMIT leave holes in the log',
    async () => {
      const subject = await TandemSubject.start(backend, { things: THINGS, change: numbersApart });
      const violations = await ended(subject, async () => {
        const writers = new Writers(subject, { seed: seedOf('TANDEM_PROOF_SEED'), pauseMs: 200, things: THINGS });
        await writers.until(4_000);
        return (await LogCheck.read(subject.source, writers.ledger)).log();
      });
      // Readers fill the holes that they meet, with events that no writer knows of.
      expect(countOf(violations, 'holes') + countOf(violations, 'unexpected')).toBeGreaterThan(0);
    },
    PATIENCE,
  );
});

const countOf = (violations: LogViolations, kind: keyof LogViolations): number => violations[kind].length;

describe.each(sqlBackends())('found out on $name', (backend: SqlBackend) => {
  it(
    'a checkpoint that is written outside of its batch’s transaction repeats and skips events',
    async () => {
      const dice = new Dice(seedOf('TANDEM_PROOF_SEED'));
      const subject = await TandemSubject.start(backend, { things: THINGS, change: checkpointApart(dice) });
      const both = ({ repeated, skipped }: Counts) => repeated > 0 && skipped > 0;
      const counts = await ended(subject, () => found(subject, { step: 500, most: 20_000 }, both));
      expect(counts).toMatchObject({ neverCommitted: 0 });
    },
    PATIENCE,
  );
});
