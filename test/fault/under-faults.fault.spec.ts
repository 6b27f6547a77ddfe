/**
 * Minutes under faults, with servers and processes of its own: see docs/reliability.md. `TANDEM_FAULT_SEED` chooses the faults,
 * `TANDEM_FAULT_MINUTES` how long they go on; `npm run test:fault` is the same in a terminal.
 */
import { describe, expect, inject, it } from 'vitest';
import { seedOf } from '../support/dice.js';
import type { MutantName } from './mutants.js';
import { MUTANTS } from './mutants.js';
import { reportText } from './report.js';
import { run } from './rig.js';

const MINUTES = Number(process.env.TANDEM_FAULT_MINUTES ?? 3);
const MUTANT_MINUTES = 0.4;
const MUTANT_TRIES = 3;
/** Its adapter is the same but for the append, which MariaDB has in one statement. */
const MYSQL_MINUTES = 1;
const PATIENCE = MINUTES * 60_000 + 900_000;

const say = (line: string): void => void process.stderr.write(`faults: ${line}\n`);
const { ownMariadb, ownMysql, ownRedis } = inject('tandemServers');

describe.runIf(ownMariadb && ownRedis)('under faults', () => {
  it(
    `nothing is lost, doubled or left undone in ${MINUTES} minutes`,
    async () => {
      const { folder, report } = await run({ minutes: MINUTES, seed: seedOf('TANDEM_FAULT_SEED'), say });
      say(`\n${reportText(report)}`);
      expect(report.violations, `logs, tables and ledger are in ${folder}`).toEqual([]);
      // A run in which nothing happened would prove nothing.
      expect(report.commands.acknowledged).toBeGreaterThan(MINUTES * 10);
      for (const kind of ['kill -9 of a process', 'SIGSTOP of a process', 'error thrown', 'FLUSHALL', 'kill -9 of the database'])
        expect(report.faultsByKind[kind], kind).toBeGreaterThan(0);
    },
    PATIENCE,
  );

  it.runIf(ownMysql)(
    'nor in a minute on MySQL',
    async () => {
      const { folder, report } = await run({ server: 'mysql', minutes: MYSQL_MINUTES, seed: seedOf('TANDEM_FAULT_SEED'), say });
      say(`\n${reportText(report)}`);
      expect(report.violations, `logs, tables and ledger are in ${folder}`).toEqual([]);
      expect(report.commands.acknowledged).toBeGreaterThan(MYSQL_MINUTES * 10);
    },
    PATIENCE,
  );

  it.each<MutantName>(['checkpoint-apart', 'job-done-apart'])(
    'it is noticed when a rule is broken: %s',
    async (mutant) => {
      const seed = seedOf('TANDEM_FAULT_SEED');
      const seen = new Set<string>();
      const isCaught = () => [...seen].some((rule) => MUTANTS[mutant].caughtBy.test(rule));
      // Whether a fault of so short a run hits the moment that the rule is about is chance.
      for (let tries = 0; tries < MUTANT_TRIES && !isCaught(); tries++) {
        const { report } = await run({ minutes: MUTANT_MINUTES, seed: seed + tries, mutant, say: () => undefined });
        for (const { rule } of report.violations) seen.add(rule);
      }
      expect([...seen]).toContainEqual(expect.stringMatching(MUTANTS[mutant].caughtBy));
    },
    PATIENCE,
  );
});
