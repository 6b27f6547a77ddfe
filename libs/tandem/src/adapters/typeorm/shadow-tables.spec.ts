/** Several workers make the shadow tables of one rebuild at the same time. */
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { sqlServers } from '../../../../../test/support/backends.js';
import { tandemDatabase, type TandemDatabase } from '../../../../../test/support/tandem-database.js';
import type { Rebuild, ShadowModel } from '../../read/projection/rebuild/rebuild-store.js';
import { SqlConsumerStore } from './sql-consumer-store.js';
import { SqlRebuildStore } from './sql-rebuild-store.js';
import { TypeOrmShadowTables } from './shadow-tables.js';

@Entity('spec_view')
class View {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  /** The live table has not. */
  @Column('int', { default: 0 }) visits!: number;
  @Column('varchar', { length: 20, nullable: true }) word!: string | null;
}

const WORKERS = 6;

describe.each(sqlServers())('shadow tables on $name', (backend) => {
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
});
