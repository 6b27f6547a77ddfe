/** Reads the tables with plain SQL and compares them with what the writers were told. Uses nothing of the library. */
import type { DataSource } from 'typeorm';
import type { Committed, Ledger } from '../ledger.js';
import { streamsOutOfOrder } from '../violations.js';
import { digestOf, totalOf } from './notes.js';

interface EventRow {
  readonly shard: number;
  readonly seq: number;
  readonly stream: string;
  readonly version: number;
  readonly fact: string;
}

/** What is wrong with the log; every list is empty where nothing is. */
export interface LogViolations {
  readonly missing: readonly string[];
  /** Twice, of a transaction that was rolled back, or of nobody. */
  readonly unexpected: readonly string[];
  readonly holes: readonly string[];
  readonly versionHoles: readonly string[];
  readonly outOfOrder: readonly string[];
  /** Write rows that do not count the events of their stream. */
  readonly apartFromRows: readonly string[];
}

export const SOUND_LOG: LogViolations = { missing: [], unexpected: [], holes: [], versionHoles: [], outOfOrder: [], apartFromRows: [] };

export interface RowViolations {
  readonly trails: readonly string[];
  readonly totals: readonly string[];
  readonly marks: readonly string[];
  readonly effects: readonly string[];
  readonly jobs: readonly string[];
}

export const RIGHT_ROWS: RowViolations = { trails: [], totals: [], marks: [], effects: [], jobs: [] };

export class LogCheck {
  private constructor(
    private readonly source: DataSource,
    private readonly ledger: Ledger,
    /** In the order of the log. */
    private readonly events: readonly EventRow[],
  ) {}

  static async read(source: DataSource, ledger: Ledger): Promise<LogCheck> {
    const rows = await source.query<(Omit<EventRow, 'fact'> & { payload: unknown })[]>('SELECT shard, seq, stream, version, payload FROM tandem_event ORDER BY shard, seq');
    const events = rows.map(({ payload, ...row }) => ({
      ...row,
      seq: Number(row.seq),
      fact: (typeof payload === 'string' ? (JSON.parse(payload) as Fact) : (payload as Fact)).id,
    }));
    return new LogCheck(source, ledger, events);
  }

  get count(): number {
    return this.events.length;
  }

  async log(): Promise<LogViolations> {
    const { committed } = this.ledger;
    const there = new Set(this.events.map(({ fact }) => fact));
    const streams = this.streams();
    const known = [...streams.values()].flat().flatMap(({ fact }) => committed.get(fact) ?? []);
    return {
      missing: [...committed.keys()].filter((id) => !there.has(id)),
      unexpected: this.events.filter(({ fact }) => !committed.has(fact) || !there.delete(fact)).map(({ fact }) => fact),
      holes: await this.holes(),
      versionHoles: [...streams].flatMap(([stream, events]) => events.filter(({ version }, index) => version !== index + 1).map(({ version }) => `${stream}@${version}`)),
      outOfOrder: streamsOutOfOrder(known),
      apartFromRows: await this.different(
        'SELECT id, notes FROM proof_thing WHERE notes > 0',
        this.expected(
          ({ thing }) => thing,
          (entries) => [entries.length],
        ),
      ),
    };
  }

  /** The read rows against a fold of the log by stream and of the ledger by the rest. */
  async rows(): Promise<RowViolations> {
    const trails = new Map<string, string>();
    for (const [stream, events] of this.streams()) {
      trails.set(stream.replace(/^thing-/, ''), [events.length, events.length, events.reduce((digest, { fact }) => digestOf(digest, fact), '')].join('|'));
    }
    const sum = (entries: readonly Committed[]) => [entries.length, decimal(entries.reduce((total, { fact }) => total + fact.amount * 100 + 25, 0))];
    const ofMarked = <T>(of: T, { marked }: { marked: boolean }) => (marked ? of : undefined);
    const marked = this.expected(
      (fact) => ofMarked(fact.id, fact),
      () => [1],
    );
    return {
      trails: await this.different('SELECT id, notes, version, digest FROM proof_trail', trails),
      totals: await this.different(
        'SELECT id, notes, amount FROM proof_total',
        this.expected(({ thing }) => totalOf(thing), sum),
      ),
      marks: await this.different(
        'SELECT id, marks FROM proof_mark',
        this.expected(
          (fact) => ofMarked(fact.thing, fact),
          (entries) => [entries.length],
        ),
      ),
      effects: await this.different('SELECT fact, count FROM proof_effect', marked),
      jobs: await this.different('SELECT state, COUNT(*) AS n FROM tandem_job GROUP BY state', new Map(marked.size > 0 ? [['done', String(marked.size)]] : [])),
    };
  }

  private streams(): Map<string, EventRow[]> {
    const streams = new Map<string, EventRow[]>();
    for (const event of this.events) streams.set(event.stream, [...(streams.get(event.stream) ?? []), event]);
    return streams;
  }

  private async holes(): Promise<string[]> {
    const heads = await this.source.query<{ shard: number; head: number | string }[]>('SELECT shard, head FROM tandem_shard');
    const last = new Map<number, number>();
    const holes: string[] = [];
    for (const { shard, seq } of this.events) {
      const next = (last.get(shard) ?? 0) + 1;
      if (seq !== next) holes.push(`${shard}/${next}`);
      last.set(shard, seq);
    }
    return [...holes, ...heads.filter(({ head, shard }) => Number(head) !== (last.get(shard) ?? 0)).map(({ head, shard }) => `${shard}/${head}`)];
  }

  private expected(key: (fact: Committed['fact']) => string | undefined, values: (entries: readonly Committed[]) => readonly (string | number)[]): Map<string, string> {
    const groups = new Map<string, Committed[]>();
    for (const entry of this.ledger.committed.values()) {
      const group = key(entry.fact);
      if (group === undefined) continue;
      const entries = groups.get(group);
      if (entries) entries.push(entry);
      else groups.set(group, [entry]);
    }
    return new Map([...groups].map(([group, entries]) => [group, values(entries).join('|')]));
  }

  /** Keys whose row is not as expected, with both. */
  private async different(query: string, expected: ReadonlyMap<string, string>): Promise<string[]> {
    const rows = await this.source.query<Record<string, unknown>[]>(query);
    const found = new Map(rows.map((row) => Object.values(row).map(String)).map(([key, ...values]) => [key!, values.join('|')]));
    const keys = new Set([...expected.keys(), ...found.keys()]);
    return [...keys].filter((key) => expected.get(key) !== found.get(key)).map((key) => `${key}: ${found.get(key)} instead of ${expected.get(key)}`);
  }
}

interface Fact {
  readonly id: string;
}

const decimal = (hundredths: number): string => `${Math.floor(hundredths / 100)}.${String(hundredths % 100).padStart(2, '0')}00`;
