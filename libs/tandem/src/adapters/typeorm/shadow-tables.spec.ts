/** Tables beside the live ones: made by several workers at the same time, with names that fit, and refused where something hangs on the live one. */
import { Column, type DataSourceOptions, Entity, Index, PrimaryColumn } from 'typeorm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeServers, type SqlBackend, sqlServers } from '../../../../../test/support/backends.js';
import { startCuttingProxy } from '../../../../../test/support/cutting-proxy.js';
import { tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { Rebuild, ShadowModel } from '../../read/projection/rebuild/rebuild-store.js';
import { Clock } from '../../kernel/clock.js';
import { NoAnswer } from '../../kernel/silent-socket.js';
import { poolsOf } from './acquire.js';
import { tandemMigrations } from './migrations/tandem-migrations.js';
import { SqlConsumerStore } from './sql-consumer-store.js';
import { SqlRebuildStore } from './sql-rebuild-store.js';
import { shadowNames } from './shadow-names.js';
import { driverErrorOf } from './sql-errors.js';
import { tableNames } from './table-names.js';
import { tandemDataSource } from './tandem-data-source.js';
import { TypeOrmUnitOfWork } from './typeorm-unit-of-work.js';
import { TypeOrmShadowTables } from './shadow-tables.js';

@Entity('spec_view')
@Index('spec_word', ['word'], { concurrent: true })
class View {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  /** The live table has not. */
  @Column('int', { default: 0 }) visits!: number;
  @Column('varchar', { length: 20, nullable: true }) word!: string | null;
}

const WORKERS = 6;

/** What hangs on the live table: how it gets there, how it is told, how it goes. */
const HANGING: Readonly<Record<SqlBackend['dialect'], [make: string, told: string, remove: string][]>> = {
  mysql: [['CREATE TRIGGER spec_trigger BEFORE INSERT ON spec_view FOR EACH ROW SET NEW.id = NEW.id', 'trigger spec_trigger', 'DROP TRIGGER spec_trigger']],
  postgres: [
    [
      'CREATE FUNCTION spec_nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER spec_trigger BEFORE INSERT ON spec_view FOR EACH ROW EXECUTE FUNCTION spec_nothing()',
      'trigger spec_trigger',
      'DROP TRIGGER spec_trigger ON spec_view',
    ],
    ['CREATE VIEW spec_over AS SELECT id FROM spec_view', 'view spec_over', 'DROP VIEW spec_over'],
    ['CREATE POLICY spec_policy ON spec_view USING (true)', 'row security policy spec_policy', 'DROP POLICY spec_policy ON spec_view'],
  ],
};

it('have names that every database takes, and that stay apart', () => {
  const long = (end: string) => shadowNames('View', `reports.${'a_read_table_of_many_words_'.repeat(3)}${end}`, { generation: 12, live: 11 });
  const [one, other] = [long('one'), long('other')];
  for (const path of [one.shadow, one.old, other.shadow, other.old]) expect(path).toMatch(/^reports\.\w{1,63}$/);
  expect(new Set([one.shadow, one.old, other.shadow, other.old])).toHaveLength(4);
  expect(shadowNames('View', 'order_view', { generation: 3, live: 2 })).toEqual({ entity: 'View', live: 'order_view', shadow: 'order_view__g3', old: 'order_view__g2_old' });
});

describeServers('shadow tables on $name', sqlServers(), (backend) => {
  let db: TandemDatabase;
  let rebuilds: SqlRebuildStore;
  let shadows: TypeOrmShadowTables;

  beforeAll(async () => {
    db = await tandemDatabase(backend, { entities: [View] });
    await db.dataSource.query('CREATE TABLE spec_view (id varchar(60) NOT NULL PRIMARY KEY)');
    const store = new SqlConsumerStore(db.dataSource, db.tables);
    await store.register([{ name: 'spec.view', kind: 'projection', types: [], version: 1, startFrom: 'beginning' }]);
    rebuilds = new SqlRebuildStore(db.dataSource, db.tables);
    shadows = new TypeOrmShadowTables(db.dataSource, db.tables);
  });
  afterAll(() => db.drop());

  const begun = (): Promise<Rebuild> =>
    rebuilds.begin({ consumer: 'spec.view', version: 1, allowed: { deadLetters: false, rowsWithoutEvents: false }, tables: (generation) => shadows.names([View], generation) });
  /** As a worker does it. */
  const made = async (rebuild: Rebuild, model: ShadowModel): Promise<void> => {
    while (!(await shadows.create(rebuild, model)) && (await rebuilds.list('spec.view'))[0]?.state === 'creating');
    await rebuilds.change(rebuild, ['creating'], { state: 'filling' });
  };

  it.each(['table', 'entity'] as const)('are made once, like the %s, however many workers are at it', async (like) => {
    for (let round = 0; round < 5; round++) {
      const rebuild = await begun();
      await Promise.all(Array.from({ length: WORKERS }, () => made(rebuild, { entities: [View], like })));
      await db.dataSource.query(`INSERT INTO ${rebuild.tables[0]!.shadow} (id, visits, word) VALUES ('a', 1, NULL)`);
      await rebuilds.change(rebuild, ['filling'], { state: 'cancelled' });
      const cancelled: Rebuild = { ...rebuild, state: 'cancelled' };
      await shadows.drop(cancelled);
      await rebuilds.forget(cancelled);
    }
  });

  it('are not made again by who comes when they have been filled, and perhaps swapped', async () => {
    const rebuild = await begun();
    await made(rebuild, { entities: [View], like: 'table' });
    await db.dataSource.query(`DROP TABLE ${rebuild.tables[0]!.shadow}`);
    expect(await shadows.create(rebuild, { entities: [View], like: 'table' })).toBe(false);
    await expect(db.dataSource.query(`SELECT id FROM ${rebuild.tables[0]!.shadow}`)).rejects.toThrow(/exist/);
    await rebuilds.change(rebuild, ['filling'], { state: 'cancelled' });
    await rebuilds.forget({ ...rebuild, state: 'cancelled' });
  });

  it.each(HANGING[backend.dialect])('are refused because of what %s makes', async (make, told, remove) => {
    expect(await shadows.problems([View])).toEqual([]);
    await db.dataSource.query(make);
    expect(await shadows.problems([View])).toEqual([`spec_view has the ${told}, which would not go over to the rebuilt table: take it away from this read table`]);
    await db.dataSource.query(remove);
  });

  it.runIf(backend.dialect === 'postgres')('have the rights of the live one', async () => {
    const rights = async (table: string): Promise<unknown> =>
      db.dataSource.query(`SELECT grantee, privilege_type FROM information_schema.role_table_grants WHERE table_name = '${table}' ORDER BY 1, 2`);
    await db.dataSource.query('GRANT SELECT ON spec_view TO PUBLIC');
    const rebuild = await begun();
    await made(rebuild, { entities: [View], like: 'table' });
    expect(await rights(rebuild.tables[0]!.shadow)).toEqual(await rights('spec_view'));
    expect(await rights('spec_view')).toContainEqual({ grantee: 'PUBLIC', privilege_type: 'SELECT' });
  });
});

describeServers('shadow tables behind a network that swallows packets, on $name', sqlServers(), (backend) => {
  it('are looked for no longer than an answer may take, and made by a later try', { timeout: 60_000 }, async () => {
    const database = await backend.create();
    const proxy = await startCuttingProxy(database.url);
    const options = { ...database.dataSourceOptions, url: proxy.url, entities: [View], migrations: tandemMigrations() } as DataSourceOptions;
    const source = await (await tandemDataSource(options)).initialize();
    try {
      await source.runMigrations();
      poolsOf(source).configure({ answerTimeoutMs: 700 });
      await source.query('CREATE TABLE spec_view (id varchar(60) NOT NULL PRIMARY KEY)');
      await new SqlConsumerStore(source, tableNames()).register([{ name: 'spec.view', kind: 'projection', types: [], version: 1, startFrom: 'beginning' }]);
      const shadows = new TypeOrmShadowTables(source, tableNames());
      const rebuild = await new SqlRebuildStore(source, tableNames()).begin({
        ...{ consumer: 'spec.view', version: 1, allowed: { deadLetters: false, rowsWithoutEvents: false } },
        tables: (generation) => shadows.names([View], generation),
      });
      proxy.silenceAt(backend.dialect === 'mysql' ? 'INFORMATION_SCHEMA' : 'information_schema', 'before');
      const failure = await shadows.create(rebuild, { entities: [View], like: 'table' }).catch((error: unknown) => error);
      expect(driverErrorOf(failure)).toBeInstanceOf(NoAnswer);
      expect(new TypeOrmUnitOfWork(source, new Clock()).isTransient(failure)).toBe(true);
      // The silent session has its lock until the server misses it.
      await expect.poll(() => shadows.create(rebuild, { entities: [View], like: 'table' }), { timeout: 25_000 }).toBe(true);
    } finally {
      await source.destroy();
      await proxy.stop();
      await database.drop();
    }
  });
});
