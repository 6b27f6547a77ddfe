/** The log as it is in its table, and what it has to be after what the load was told. */
import { eventsOf, type Poison } from '../asked.js';
import type { Fleet } from '../fleet.js';
import type { Ledger } from '../ledger.js';
import { type Violation, violation } from './violations.js';

export interface LoggedEvent {
  readonly shard: number;
  readonly seq: number;
  readonly eventId: string;
  readonly stream: string;
  readonly version: number;
  readonly type: string;
  readonly payload: {
    readonly account?: string;
    readonly amount?: number;
    readonly order?: string;
    readonly command?: string;
    readonly index?: number;
    readonly poison?: Poison;
    readonly job?: string;
  };
}

/** Fills a number that was taken by nobody: no event of the application. */
const VOID = 'tandem.void';
const SHARDS = 64;

export class Log {
  private constructor(
    readonly all: readonly LoggedEvent[],
    private readonly heads: ReadonlyMap<number, number>,
  ) {}

  static async read(fleet: Fleet): Promise<Log> {
    const all: LoggedEvent[] = [];
    for (let shard = 0; shard < SHARDS; shard++) {
      const rows = await fleet.sql<Omit<LoggedEvent, 'payload'> & { payload: string }>(
        'SELECT shard, seq, event_id AS eventId, stream, version, type, payload FROM tandem_event WHERE shard = ? ORDER BY seq',
        [shard],
      );
      for (const row of rows) all.push({ ...row, seq: Number(row.seq), payload: JSON.parse(row.payload) as LoggedEvent['payload'] });
    }
    const heads = await fleet.sql<{ shard: number; head: number }>('SELECT shard, head FROM tandem_shard');
    return new Log(all, new Map(heads.map(({ head, shard }) => [shard, Number(head)])));
  }

  /** Of the application. */
  get events(): readonly LoggedEvent[] {
    return this.all.filter(({ type }) => type !== VOID);
  }

  ofType(...types: string[]): readonly LoggedEvent[] {
    return this.all.filter(({ type }) => types.includes(type));
  }

  streams(): Map<string, LoggedEvent[]> {
    const streams = new Map<string, LoggedEvent[]>();
    for (const event of this.events) {
      const stream = streams.get(event.stream);
      if (stream) stream.push(event);
      else streams.set(event.stream, [event]);
    }
    return streams;
  }

  violations(ledger: Ledger): Violation[] {
    return [
      ...violation('The numbers of a shard have no holes', this.holes()),
      ...violation('The versions of a stream rise by one', this.versionHoles()),
      ...violation(
        'Numbers are not taken in vain',
        this.ofType(VOID).map(({ seq, shard }) => `${shard}/${seq}`),
      ),
      ...violation('An event is there once', repeated(this.all.map(({ eventId }) => eventId))),
      ...this.commands(ledger),
    ];
  }

  private holes(): string[] {
    const last = new Map<number, number>();
    const holes: string[] = [];
    for (const { seq, shard } of this.all) {
      const next = (last.get(shard) ?? 0) + 1;
      if (seq !== next) holes.push(`shard ${shard} has ${seq} where ${next} is due`);
      last.set(shard, seq);
    }
    return [...holes, ...[...this.heads].filter(([shard, head]) => head !== (last.get(shard) ?? 0)).map(([shard, head]) => `shard ${shard} ends before its head ${head}`)];
  }

  private versionHoles(): string[] {
    return [...this.streams()].flatMap(([stream, events]) => events.filter(({ version }, i) => version !== i + 1).map(({ version }) => `${stream} at ${version}`));
  }

  /** Acknowledged: all of its events, once each. Refused: none. Unknown: all or none. */
  private commands({ entries }: Ledger): Violation[] {
    const found = new Map<string, number[]>();
    for (const { payload } of this.events) {
      if (payload.command === undefined) continue;
      const indices = found.get(payload.command);
      if (indices) indices.push(payload.index!);
      else found.set(payload.command, [payload.index!]);
    }
    const wrong = { lost: [] as string[], partly: [] as string[], refused: [] as string[] };
    for (const [id, { asked, reason, told }] of entries) {
      const indices = (found.get(id) ?? []).toSorted((a, b) => a - b);
      const isWhole = indices.length === eventsOf(asked) && indices.every((index, i) => index === i);
      const text = `${id} (${asked.kind}, ${told}${reason ? `: ${reason}` : ''}) has events [${indices.join(' ')}] of ${eventsOf(asked)}`;
      if (told === 'acknowledged' && indices.length === 0) wrong.lost.push(text);
      else if (told === 'refused' && indices.length > 0) wrong.refused.push(text);
      else if (indices.length > 0 && !isWhole) wrong.partly.push(text);
    }
    const strangers = [...found.keys()].filter((id) => !entries.has(id));
    return [
      ...violation('What was acknowledged is in the log', wrong.lost),
      ...violation('What was refused is not in the log', wrong.refused),
      ...violation('A command’s events are there once and together', wrong.partly),
      ...violation('Nobody writes but the load', strangers),
    ];
  }
}

export function repeated(values: readonly string[]): string[] {
  const seen = new Set<string>();
  return values.filter((value) => seen.has(value) || !seen.add(value));
}
