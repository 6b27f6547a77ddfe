/** Counts and times of one kind of message since the process started. Times are in milliseconds. */
export interface Timing {
  readonly type: string;
  readonly executions: number;
  readonly errors: number;
  readonly totalMs: number;
  /** 0 when nothing was executed. */
  readonly averageMs: number;
}

export interface QueryTiming extends Timing {
  /** Executions that the cache answered. */
  readonly cacheHits: number;
  /** Of all executions, from 0 to 1. */
  readonly hitRate: number;
}

/** Plain data, the types that took most time first. */
export interface PerformanceReport {
  readonly sinceMs: number;
  readonly commands: readonly Timing[];
  readonly queries: readonly QueryTiming[];
  /** By handler, since an event may have several. */
  readonly events: readonly Timing[];
  /** Why the report is empty, where nothing could have filled it. */
  readonly hint?: string;
}

type Cell = string | number;

/** The report as text tables for a terminal. */
export function reportText(report: PerformanceReport): string {
  const timed = ({ type, executions, errors, totalMs, averageMs }: Timing): Cell[] => [type, executions, errors, totalMs.toFixed(1), averageMs.toFixed(2)];
  const head = ['executions', 'errors', 'total ms', 'average ms'];
  return [
    table(['command', ...head], report.commands.map(timed)),
    table(
      ['query', ...head, 'cache hits', 'hit rate'],
      report.queries.map((query) => [...timed(query), query.cacheHits, `${(query.hitRate * 100).toFixed(1)} %`]),
    ),
    table(['event handler', ...head], report.events.map(timed)),
    ...(report.hint === undefined ? [] : [report.hint]),
  ].join('\n\n');
}

function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  ');
  const [first, ...others] = cells.map((row) => line(row).trimEnd());
  return [first, '-'.repeat(widths.reduce((sum, width) => sum + width + 2, -2)), ...(others.length > 0 ? others : ['none yet'])].join('\n');
}
