import { DataSource, type DataSourceOptions, type MigrationInterface, type QueryRunner } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../test/support/backends.js';
import { tandemMigrations } from './migrations/tandem-migrations.js';
import { SchemaCheck } from './schema-check.js';
import { tableNames } from './table-names.js';

class CreateOrders1763900000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('CREATE TABLE orders (id INT)');
  }
  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('DROP TABLE orders');
  }
}

const outdated = (message: string): object => ({ code: 'TANDEM_SCHEMA_OUTDATED', message: expect.stringContaining(message) as string });

describe.each(sqlBackends())('SchemaCheck on $name', (backend) => {
  let database: TestDatabase;
  const open: DataSource[] = [];

  const dataSourceWith = async (migrations: DataSourceOptions['migrations']): Promise<DataSource> => {
    const dataSource = await new DataSource({ ...database.dataSourceOptions, migrations } as DataSourceOptions).initialize();
    open.push(dataSource);
    return dataSource;
  };
  const checkOf = (dataSource: DataSource, command?: string): SchemaCheck => new SchemaCheck(dataSource, tableNames(), command);

  beforeEach(async () => {
    database = await backend.create();
  });
  afterEach(async () => {
    for (const dataSource of open.splice(0)) if (dataSource.isInitialized) await dataSource.destroy();
    await database.drop();
  });

  it('passes on a migrated database and then knows the log', async () => {
    const dataSource = await dataSourceWith([...tandemMigrations(), CreateOrders1763900000000]);
    await dataSource.runMigrations();
    const check = checkOf(dataSource);
    expect(() => check.logId).toThrow(expect.objectContaining({ code: 'TANDEM_WIRING' }));
    await check.verify();
    expect(check.logId).toMatch(/^[0-9a-f]{16}$/);
  });

  it('names the missing table and the command to run', async () => {
    const dataSource = await dataSourceWith([]);
    await expect(checkOf(dataSource).verify()).rejects.toMatchObject(outdated('no table tandem_meta. Run `npx typeorm migration:run` before'));
    await expect(checkOf(dataSource, 'npm run migrate').verify()).rejects.toMatchObject(outdated('Run `npm run migrate` before'));
  });

  it('refuses a newer schema', async () => {
    const dataSource = await dataSourceWith(tandemMigrations());
    await dataSource.runMigrations();
    await dataSource.query("UPDATE tandem_meta SET value = '9' WHERE name = 'schema_version'");
    await expect(checkOf(dataSource).verify()).rejects.toMatchObject({ code: 'TANDEM_SCHEMA_NEWER', message: expect.stringContaining('version 9') as string });
  });

  it('refuses an older schema, and does not send you to migrations that have run', async () => {
    const dataSource = await dataSourceWith(tandemMigrations());
    await dataSource.runMigrations();
    await dataSource.query("UPDATE tandem_meta SET value = '0' WHERE name = 'schema_version'");
    await expect(checkOf(dataSource).verify()).rejects.toMatchObject(outdated('schema version 0, this version of Tandem needs 1'));
    await expect(checkOf(dataSource).verify()).rejects.toMatchObject({ message: expect.not.stringContaining('migration:run') as string });
    await dataSource.query('DELETE FROM tandem_meta');
    await expect(checkOf(dataSource).verify()).rejects.toMatchObject(outdated('schema version 0'));
  });

  it("names the application's migrations that have not run", async () => {
    await (await dataSourceWith(tandemMigrations())).runMigrations();
    const newer = await dataSourceWith([...tandemMigrations(), CreateOrders1763900000000]);
    await expect(checkOf(newer).verify()).rejects.toMatchObject(outdated('1 migration has not run: CreateOrders1763900000000'));
    await newer.runMigrations();
    await checkOf(newer).verify();
  });
});

describe('SchemaCheck without a database', () => {
  it('tells a database that is away from one that is old', async () => {
    const away = new DataSource({ type: 'postgres', url: 'postgres://nobody@127.0.0.1:1/none', connectTimeoutMS: 2_000 });
    await expect(new SchemaCheck(away, tableNames()).verify()).rejects.toMatchObject({ code: 'TANDEM_STORAGE_UNAVAILABLE' });
  });

  it('refuses a database that Tandem has no SQL for', async () => {
    const other = new DataSource({ type: 'cockroachdb', url: 'postgres://nobody@127.0.0.1:1/none', timeTravelQueries: false });
    await expect(new SchemaCheck(other, tableNames()).verify()).rejects.toMatchObject({ code: 'TANDEM_WIRING', message: expect.stringContaining('cockroachdb') as string });
  });
});
