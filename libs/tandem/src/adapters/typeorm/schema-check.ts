import { MigrationExecutor, type DataSource } from 'typeorm';
import { StorageCheck } from '../../kernel/adapter.js';
import { TandemError } from '../../kernel/errors.js';
import { dialectOf } from './driver-link.js';
import { SCHEMA_VERSION } from './migrations/tandem-migrations.js';
import { driverErrorOf, isConnectionLost } from './sql-errors.js';
import { sqlOutside } from './sql.js';
import { tableNames, type TableNames } from './table-names.js';

export const DEFAULT_MIGRATE_COMMAND = 'npx typeorm migration:run';
/** MySQL, PostgreSQL. */
const NO_SUCH_TABLE: ReadonlySet<unknown> = new Set(['ER_NO_SUCH_TABLE', '42P01']);

/** Reads what the migrations left in the meta table, and asks TypeORM for migrations of the application that have not run. */
export class SchemaCheck extends StorageCheck {
  private foundLogId: string | undefined;

  constructor(
    private readonly dataSource: DataSource,
    private readonly tables: TableNames,
    private readonly migrateCommand: string = DEFAULT_MIGRATE_COMMAND,
    /** For messages: which of two data sources it is. */
    private readonly where = '',
  ) {
    super();
  }

  get logId(): string {
    if (this.foundLogId === undefined) throw new TandemError('TANDEM_WIRING', 'The id of the log was asked for before the storage was verified');
    return this.foundLogId;
  }

  async verify(): Promise<void> {
    dialectOf(this.dataSource);
    const meta = await this.meta();
    const version = Number(meta.get('schema_version') ?? 0);
    const logId = meta.get('log_id');
    if (version > SCHEMA_VERSION)
      throw new TandemError('TANDEM_SCHEMA_NEWER', `${this.tables.meta} is at schema version ${version}, this version of Tandem knows ${SCHEMA_VERSION}`, { data: { version } });
    const pending = await this.reaching(() => new MigrationExecutor(this.dataSource).getPendingMigrations());
    if (pending.length > 0)
      throw this.outdated(`${pending.length} ${pending.length === 1 ? 'migration has' : 'migrations have'} not run: ${pending.map(({ name }) => name).join(', ')}`);
    if (version < SCHEMA_VERSION || logId === undefined) throw this.tamperedWith(version);
    this.foundLogId = logId;
  }

  /** Migrating would change nothing: they are noted as run. */
  private tamperedWith(version: number): TandemError {
    return new TandemError(
      'TANDEM_SCHEMA_OUTDATED',
      `All migrations have run, but ${this.tables.meta} is at schema version ${version}, this version of Tandem needs ${SCHEMA_VERSION}`,
      {
        next: `Something else wrote to ${this.tables.meta}: restore its rows log_id and schema_version from a backup.`,
      },
    );
  }

  private async meta(): Promise<Map<string, string>> {
    try {
      const rows = await this.reaching(() => sqlOutside(this.dataSource, (sql) => sql.query<{ name: string; value: string }[]>(`SELECT name, value FROM ${this.tables.meta}`)));
      return new Map(rows.map(({ name, value }) => [name, value]));
    } catch (error) {
      const { code } = driverErrorOf(error) as { code?: unknown };
      throw NO_SUCH_TABLE.has(code) ? this.outdated(`The database has no table ${this.tables.meta}`, error) : error;
    }
  }

  private async reaching<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw isConnectionLost(error) ? new TandemError('TANDEM_STORAGE_UNAVAILABLE', `The database does not answer${this.where}`, { cause: error }) : error;
    }
  }

  private outdated(what: string, cause?: unknown): TandemError {
    return new TandemError('TANDEM_SCHEMA_OUTDATED', `${what}${this.where}`, { cause, next: `Run \`${this.migrateCommand}\` before you start the application.` });
  }
}

/**
 * What the application checks when it starts, for a command that migrates: whether it could start now.
 * @throws TANDEM_SCHEMA_OUTDATED, TANDEM_SCHEMA_NEWER, TANDEM_STORAGE_UNAVAILABLE
 */
export function checkSchema(dataSource: DataSource, { tablePrefix, migrateCommand }: SchemaCheckOptions = {}): Promise<void> {
  return new SchemaCheck(dataSource, tableNames(tablePrefix), migrateCommand).verify();
}

/** As in `typeOrmStorage`. */
export interface SchemaCheckOptions {
  readonly tablePrefix?: string;
  readonly migrateCommand?: string;
}
