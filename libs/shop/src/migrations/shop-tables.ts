import type { MigrationInterface, QueryRunner } from 'typeorm';
import type { ColumnTypes } from './column-types.js';
import { columnTypes } from './column-types.js';

interface Table {
  readonly name: string;
  /** Column name → its type. All are NOT NULL unless the type says otherwise. */
  readonly columns: Readonly<Record<string, string>>;
  readonly primaryKey: readonly string[];
  /** Constraint name → columns. */
  readonly unique?: Readonly<Record<string, readonly string[]>>;
  /** Constraint name → the column, and the table whose id it is. */
  readonly references?: Readonly<Record<string, readonly [column: string, table: string]>>;
}

function writeTables(t: ColumnTypes): Table[] {
  const document = { id: t.id, customer_id: `${t.id} NULL`, country: t.textKey(60), total: t.money, content_hash: t.asciiKey(64) };
  const line = { line_no: t.int, sku: t.asciiKey(64), quantity: t.int, unit_price: t.money };
  return [
    {
      name: 'shop_user',
      columns: { id: t.id, name: t.text(100), email: t.asciiKey(254), email_key: t.asciiKey(254), status: t.asciiKey(16), version: t.int },
      primaryKey: ['id'],
      unique: { shop_user_email_key: ['email_key'] },
    },
    { name: 'shop_order', columns: { ...document, placed_at: t.instant, status: t.asciiKey(16), version: t.int }, primaryKey: ['id'] },
    {
      name: 'shop_order_line',
      columns: { order_id: t.id, ...line },
      primaryKey: ['order_id', 'line_no'],
      references: { shop_order_line_order: ['order_id', 'shop_order'] },
    },
    { name: 'shop_return', columns: { ...document, recorded_at: t.instant }, primaryKey: ['id'] },
    {
      name: 'shop_return_line',
      columns: { return_id: t.id, ...line },
      primaryKey: ['return_id', 'line_no'],
      references: { shop_return_line_return: ['return_id', 'shop_return'] },
    },
  ];
}

/** No foreign keys: each projection fills its table at its own pace. */
function readTables(t: ColumnTypes): Table[] {
  const counts = { orders: `${t.int} DEFAULT 0`, cancelled: `${t.int} DEFAULT 0`, returns: `${t.int} DEFAULT 0` };
  return [
    {
      name: 'shop_user_view',
      columns: { id: t.id, name: t.text(100), email: t.asciiKey(254), status: t.asciiKey(16), created_at: t.instant, search_text: t.textKey(512) },
      primaryKey: ['id'],
      // The index that pages walk along. Unique because ids are; MySQL can make it together with the table.
      unique: { shop_user_view_page: ['created_at', 'id'] },
    },
    { name: 'shop_email_directory', columns: { email_key: t.asciiKey(254), user_id: t.id }, primaryKey: ['email_key'] },
    {
      name: 'shop_order_view',
      columns: { id: t.id, customer_id: `${t.id} NULL`, country: t.textKey(60), status: t.asciiKey(16), placed_at: t.instant, total: t.money, lines: t.long },
      primaryKey: ['id'],
    },
    { name: 'shop_customer_spending', columns: { customer_id: t.id, ...counts, spent: `${t.sum} DEFAULT 0` }, primaryKey: ['customer_id'] },
    { name: 'shop_country_sales', columns: { country: t.textKey(60), ...counts, net_sales: `${t.sum} DEFAULT 0` }, primaryKey: ['country'] },
  ];
}

function createTable(table: Table, t: ColumnTypes): string {
  const { quote } = t;
  const list = (names: readonly string[]): string => names.map(quote).join(', ');
  const definitions = [
    ...Object.entries(table.columns).map(([name, type]) => `${quote(name)} ${type}${type.endsWith(' NULL') ? '' : ' NOT NULL'}`),
    `PRIMARY KEY (${list(table.primaryKey)})`,
    ...Object.entries(table.unique ?? {}).map(([name, columns]) => `CONSTRAINT ${quote(name)} UNIQUE (${list(columns)})`),
    ...Object.entries(table.references ?? {}).map(
      ([name, [column, other]]) => `CONSTRAINT ${quote(name)} FOREIGN KEY (${quote(column)}) REFERENCES ${quote(other)} (${quote('id')})`,
    ),
  ];
  return `CREATE TABLE IF NOT EXISTS ${quote(table.name)} (${definitions.join(', ')})${t.tableOptions}`;
}

/** The shop's first tables. MySQL commits every CREATE at once, so a migration that broke off half-way goes on where it stopped. */
export class ShopTables1770000000000 implements MigrationInterface {
  readonly name = 'ShopTables1770000000000';

  async up(runner: QueryRunner): Promise<void> {
    const types = columnTypes(runner.connection.options.type);
    for (const table of [...writeTables(types), ...readTables(types)]) await runner.query(createTable(table, types));
  }

  async down(runner: QueryRunner): Promise<void> {
    const types = columnTypes(runner.connection.options.type);
    for (const table of [...writeTables(types), ...readTables(types)].reverse()) await runner.query(`DROP TABLE IF EXISTS ${types.quote(table.name)}`);
  }
}
