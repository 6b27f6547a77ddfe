import type { Type } from '@nestjs/common';
import { type DataSource, type QueryRunner, Table, type TableColumn, TableIndex, TableUnique } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import type { ShadowModel, ShadowTable } from '../../read/projection/rebuild/rebuild-store.js';
import { dialectOf } from './driver-link.js';
import { quotedPath } from './quoted-path.js';
import { tableOf } from './shadow-names.js';

/** The statements that make shadow tables. They are written only, by TypeORM where the entity decides, and sent by whoever may. */
export class ShadowDdl {
  constructor(private readonly dataSource: DataSource) {}

  /** What is missing, as the runner's session sees it: nothing for tables that are there with every column of their entity. */
  async statements(runner: QueryRunner, tables: readonly ShadowTable[], { entities, like }: ShadowModel): Promise<readonly string[]> {
    const statements: string[] = [];
    for (const entity of entities) {
      const { tablePath } = this.dataSource.getMetadata(entity);
      statements.push(
        ...(await this.statementsOf(
          runner,
          tables.find(({ live }) => live === tablePath)!,
          { entity, like },
        )),
      );
    }
    return statements;
  }

  private async statementsOf(
    runner: QueryRunner,
    { live, shadow }: ShadowTable,
    { entity, like }: { readonly entity: Type; readonly like: 'table' | 'entity' },
  ): Promise<string[]> {
    const wanted = Table.create(this.dataSource.getMetadata(entity), this.dataSource.driver);
    const there = await runner.getTable(shadow);
    if (there) return this.written(runner, () => this.addMissing(runner, { name: shadow, has: there, wanted }));
    if (like === 'entity') return this.written(runner, () => runner.createTable(this.renamed(wanted, shadow), true, false));
    const model = await runner.getTable(live);
    if (!model) throw new TandemError('TANDEM_REBUILD_REFUSED', `${live}, the table of ${entity.name}, is not there`, { next: 'Run the pending migrations first.' });
    refuseLeftOver(model, wanted);
    const copy = await this.copied(runner, live, shadow);
    return [...copy, ...(await this.written(runner, () => this.addMissing(runner, { name: shadow, has: model, wanted })))];
  }

  private async addMissing(runner: QueryRunner, { has, name, wanted }: { readonly has: Table; readonly name: string; readonly wanted: Table }): Promise<void> {
    const table = new Table({ name, columns: has.columns });
    for (const column of wanted.columns) if (!has.findColumnByName(column.name)) await runner.addColumn(table, column.clone());
  }

  private async copied(runner: QueryRunner, live: string, shadow: string): Promise<string[]> {
    const quoted = { live: quotedPath(this.dataSource, live), shadow: quotedPath(this.dataSource, shadow) };
    if (dialectOf(this.dataSource) === 'mysql') return [`CREATE TABLE IF NOT EXISTS ${quoted.shadow} LIKE ${quoted.live}`];
    return [`CREATE TABLE IF NOT EXISTS ${quoted.shadow} (LIKE ${quoted.live} INCLUDING ALL)`, ...(await this.grants(runner, quoted))];
  }

  /** PostgreSQL's rights are the table's, not the name's. */
  private async grants(runner: QueryRunner, { live, shadow }: { readonly live: string; readonly shadow: string }): Promise<string[]> {
    const rows = (await runner.query(
      `SELECT a.privilege_type AS privilege, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee, a.is_grantable AS grantable
       FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = $1::regclass AND a.grantee <> c.relowner`,
      [live],
    )) as { readonly privilege: string; readonly grantee: string; readonly grantable: boolean }[];
    return rows.map(({ grantable, grantee, privilege }) => `GRANT ${privilege} ON ${shadow} TO ${grantee}${grantable ? ' WITH GRANT OPTION' : ''}`);
  }

  /** What the swap needs, where the application's own user may not change tables. */
  async rights(runner: QueryRunner, tables: readonly ShadowTable[]): Promise<readonly string[]> {
    const quoted = (path: string): string => quotedPath(this.dataSource, path);
    if (dialectOf(this.dataSource) === 'postgres') {
      const [row] = (await runner.query('SELECT quote_ident(current_user::text) AS name, quote_ident(current_schema()::text) AS schema')) as { name: string; schema: string }[];
      const owners = tables.flatMap(({ live, shadow }) => [live, shadow]).map((path) => `ALTER TABLE ${quoted(path)} OWNER TO ${row!.name}`);
      return [...owners, `GRANT CREATE ON SCHEMA ${row!.schema} TO ${row!.name}`];
    }
    const [row] = (await runner.query('SELECT CURRENT_USER() AS name')) as { name: string }[];
    const user = row!.name
      .split('@')
      .map((part) => `'${part}'`)
      .join('@');
    return tables.flatMap(({ live, old, shadow }) => [live, shadow, old].map((path) => `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP ON ${quoted(path)} TO ${user}`));
  }

  /** Names of indexes are a schema's on PostgreSQL: the live ones are taken until the swap. CONCURRENTLY has no place in a transaction, and an empty table no need of it. */
  private renamed(table: Table, shadow: string): Table {
    const suffix = tableOf(shadow).slice(tableOf(shadow).lastIndexOf('__'));
    const own = (name: string | undefined): string | undefined => name && `${name.slice(0, 50)}${suffix}`;
    return new Table({
      name: shadow,
      engine: table.engine,
      columns: table.columns.map((column: TableColumn) => Object.assign(column.clone(), { primaryKeyConstraintName: undefined })),
      indices: table.indices.map((index) => new TableIndex({ ...index, name: own(index.name), isConcurrent: false })),
      uniques: table.uniques.map((unique) => new TableUnique({ ...unique, name: own(unique.name) })),
      checks: table.checks,
    });
  }

  private async written(runner: QueryRunner, work: () => Promise<void>): Promise<string[]> {
    runner.enableSqlMemory();
    try {
      await work();
      return runner.getMemorySql().upQueries.map(({ query }) => query);
    } finally {
      runner.clearSqlMemory();
      runner.disableSqlMemory();
    }
  }
}

/** A column that nobody fills any more. */
function refuseLeftOver(model: Table, wanted: Table): void {
  const left = model.columns.find(
    (column) => !wanted.findColumnByName(column.name) && !column.isNullable && column.default === undefined && !column.isGenerated && column.generatedType === undefined,
  );
  if (!left) return;
  throw new TandemError('TANDEM_REBUILD_REFUSED', `${model.name} has the column ${left.name}, which must have a value, and the entity has not`, {
    next: "Let the column be null, or give the projection `rebuildLike: 'entity'`.",
  });
}
