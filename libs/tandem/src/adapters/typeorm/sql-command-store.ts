import type { DataSource } from 'typeorm';
import { CommandStore, type NewCommand, type RecordedCommand } from '../../write/command/command-store.js';
import { TandemError } from '../../kernel/errors.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { expressionsOf } from './dialect.js';
import { repeated } from './repeated.js';
import { isLockTimeout } from './sql-errors.js';
import { sqlOf, sqlOutside, type Sql } from './sql.js';
import type { TableNames } from './table-names.js';

const SWEEP_STEP = 500;
/** A record that was found in the way may be swept before it is read. */
const TRIES = 3;

interface Affected {
  readonly affectedRows: number;
}

interface Row {
  readonly name: string;
  readonly fingerprint: string;
  readonly result: string | null;
  readonly positions: string | null;
  readonly streams: string | null;
}

/** Command ids on MySQL, MariaDB and PostgreSQL. The unique key makes a repeat wait for the transaction that has the id. */
export class SqlCommandStore extends CommandStore {
  constructor(
    private readonly dataSource: DataSource,
    private readonly tables: TableNames,
  ) {
    super();
  }

  /** As the unit's first statement the INSERT also begins its transaction, where that is possible. */
  async take(unit: Unit, command: NewCommand): Promise<RecordedCommand | undefined> {
    const sql = sqlOf(unit);
    for (let tries = 1; tries <= TRIES; tries++) {
      if (await this.insert(sql, command)) return undefined;
      const [row] = await sql.query<Row[]>(`SELECT name, fingerprint, result, positions, streams FROM ${this.tables.command} WHERE scope = ? AND command_id = ?`, [
        command.scope,
        command.commandId,
      ]);
      if (row) return recorded(row);
    }
    throw inProgress(command);
  }

  private async insert(sql: Sql, command: NewCommand): Promise<boolean> {
    const { now } = expressionsOf(sql.dialect);
    const [insert, unlessThere] = sql.dialect === 'mysql' ? ['INSERT IGNORE', ''] : ['INSERT', ' ON CONFLICT DO NOTHING'];
    try {
      const { affectedRows } = await sql.query<Affected>(
        `${insert} INTO ${this.tables.command} (scope, command_id, name, fingerprint, created_at) VALUES (?, ?, ?, ?, ${now})${unlessThere}`,
        [command.scope, command.commandId, command.name, command.fingerprint],
      );
      return affectedRows > 0;
    } catch (error) {
      throw isLockTimeout(error) ? inProgress(command, error) : error;
    }
  }

  async sweep(keepMs: number): Promise<number> {
    for (let swept = 0; ;) {
      const { affectedRows } = await repeated(() => sqlOutside(this.dataSource, (sql) => this.sweepStep(sql, keepMs)));
      swept += affectedRows;
      if (affectedRows < SWEEP_STEP) return swept;
    }
  }

  private sweepStep(sql: Sql, keepMs: number): Promise<Affected> {
    const { command } = this.tables;
    const old = `created_at <= ${expressionsOf(sql.dialect).earlier} ORDER BY created_at LIMIT ?`;
    const text =
      sql.dialect === 'mysql'
        ? `DELETE FROM ${command} WHERE ${old}`
        : `DELETE FROM ${command} WHERE (scope, command_id) IN (SELECT scope, command_id FROM ${command} WHERE ${old} FOR UPDATE SKIP LOCKED)`;
    return sql.query(text, [keepMs, SWEEP_STEP]);
  }
}

function recorded({ fingerprint, name, positions, result, streams }: Row): RecordedCommand {
  const seqs = Object.entries(JSON.parse(positions ?? '{}') as Record<string, number>).map(([shard, seq]): [number, number] => [Number(shard), seq]);
  return { name, fingerprint, result, written: { positions: new Map(seqs), streams: JSON.parse(streams ?? '[]') as string[] } };
}

const inProgress = ({ commandId, name }: NewCommand, cause?: unknown): TandemError =>
  new TandemError('TANDEM_COMMAND_IN_PROGRESS', `${name} was sent again under the id "${commandId}" while it is being handled`, { data: { commandId, command: name }, cause });
