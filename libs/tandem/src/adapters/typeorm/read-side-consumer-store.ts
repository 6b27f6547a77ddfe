import type { DataSource } from 'typeorm';
import { logWentBack } from '../../events/batch-read.js';
import type { EventLog } from '../../events/event-log.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { type Lagging, SqlConsumerStore, statusColumns, type StatusRow } from './sql-consumer-store.js';
import { sqlOf, sqlOutside } from './sql.js';
import type { TableNames } from './table-names.js';

/**
 * Projections whose checkpoints are in another data source than the log. Checkpoints are always read first, heads after them: a
 * checkpoint is written when its event has been committed, so one beyond its head tells that the log has lost events.
 */
export class ReadSideConsumerStore extends SqlConsumerStore {
  constructor(
    dataSource: DataSource,
    tables: TableNames,
    private readonly log: EventLog,
  ) {
    super(dataSource, tables);
  }

  protected override async lagging(unit: Unit, consumer: string, generation: number): Promise<Lagging> {
    const rows = await sqlOf(unit).query<{ shard: number; seq: number | string }[]>(
      `SELECT shard, seq FROM ${this.tables.checkpoint} WHERE consumer = ? AND generation = ? ORDER BY shard`,
      [consumer, generation],
    );
    const { cutMicros, heads } = await this.log.heads(unit);
    const all = rows.map(({ shard, seq }) => ({ shard, seq: Number(seq), head: heads.get(shard) ?? 0 }));
    const behind = all.filter(({ head, seq }) => head > seq);
    const beyond = all.find(({ head, seq }) => head < seq);
    return {
      cutMicros,
      heads: new Map(behind.map(({ shard, head }) => [shard, head])),
      behind: behind.map(({ shard, head, seq }) => ({ shard, events: head - seq })),
      wentBack: beyond && logWentBack(`event ${beyond.seq} of shard ${beyond.shard} was handled, and now there are only ${beyond.head}`),
    };
  }

  /** A consumer that is beyond the log counts as behind, so that workers look at it, and halt it. */
  protected override async statusRows(): Promise<readonly StatusRow[]> {
    const { consumer, checkpoint } = this.tables;
    const rows = await sqlOutside(this.dataSource, (sql) =>
      sql.query<(Omit<StatusRow, 'behind'> & { readonly seq: number | string | null })[]>(
        `SELECT ${statusColumns(sql)}, p.shard, p.seq FROM ${consumer} c
         LEFT JOIN ${checkpoint} p ON p.consumer = c.name AND p.generation = c.live_generation ORDER BY c.name, p.shard`,
      ),
    );
    const { heads } = await this.log.heads();
    return rows.map(({ seq, ...row }) => {
      const behind = Math.abs((heads.get(row.shard ?? -1) ?? 0) - Number(seq ?? 0));
      return { ...row, shard: behind > 0 ? row.shard : null, behind };
    });
  }
}
