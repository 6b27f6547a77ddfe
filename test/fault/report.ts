import type { Violation } from './invariants/violations.js';
import type { Told } from './ledger.js';

/** What a run found. */
export interface Report {
  readonly seed: number;
  readonly minutes: number;
  /** Which one. */
  readonly database: string;
  readonly mutant?: string;
  /** The rule that the mutant breaks. */
  readonly breaks?: string;
  readonly seconds: number;
  /** How the clocks were off. */
  readonly clocks: string;
  readonly events: number;
  readonly commands: Readonly<Record<Told, number>>;
  /** Commands whose answer was unknown until they were sent again with the same id. */
  readonly repeated: number;
  /** Projections whose rebuilt rows have taken the place of those that were there. */
  readonly rebuilds: number;
  /** Error code → how many commands it ended. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Of processes. */
  readonly starts: number;
  /** With a clock that was off. */
  readonly skewedStarts: number;
  readonly faultsByKind: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  /** Failpoints that nothing came by in time. */
  readonly missed: number;
  readonly violations: readonly Violation[];
}

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);

/** Faults by what was done, over all places where. */
export function faultsByKind(counts: ReadonlyMap<string, number>): Record<string, number> {
  const groups: readonly (readonly [kind: string, pattern: RegExp])[] = [
    ['kill -9 of a process', /^kill (at|of (api|worker))/],
    ['SIGSTOP of a process', /^stop (at|of (api|worker))/],
    ['error thrown', /^throw at/],
    ['connection cut at COMMIT', /^cut/],
    ['network late, reset or half-open', /between/],
    ['FLUSHALL', /^flush/],
    ['kill -9 of Redis', /^kill of redis/],
    ['SIGSTOP of Redis', /^stop of redis/],
    ['kill -9 of the database', /^kill of database/],
    ['SIGSTOP of the database', /^stop of database/],
  ];
  const entries = [...counts];
  return Object.fromEntries(groups.map(([kind, pattern]) => [kind, sum(entries.filter(([name]) => pattern.test(name)).map(([, count]) => count))]));
}

export function reportText(report: Report): string {
  const { acknowledged, refused, unknown } = report.commands;
  const lines = [
    `seed ${report.seed}, ${report.minutes} minutes on ${report.database}${report.mutant ? `, mutant ${report.mutant}` : ''}`,
    `${report.events} events; commands: ${acknowledged} acknowledged, ${refused} refused, ${unknown} unknown; ${report.repeated} acknowledged when sent again`,
    ...Object.entries(report.reasons).map(([reason, count]) => `  ${reason}: ${count}`),
    `${report.rebuilds} projections rebuilt`,
    `${report.starts} starts of processes, ${report.skewedStarts} of them with a clock that was off by an hour (${report.clocks})`,
    ...Object.entries(report.faultsByKind).map(([kind, count]) => `${String(count).padStart(6)}  ${kind}`),
    `failpoints: ${Object.keys(report.faults).filter((name) => name.includes(' at ')).length} different; ${report.missed} times nothing came by`,
    ...report.violations.flatMap(({ count, examples, rule }) => [`VIOLATED ${count} times: ${rule}`, ...examples.map((example) => `    ${example}`)]),
    `${report.violations.length} violations`,
  ];
  return lines.join('\n');
}
