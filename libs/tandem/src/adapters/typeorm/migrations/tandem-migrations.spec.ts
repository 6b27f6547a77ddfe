import { DataSource, type DataSourceOptions } from 'typeorm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sqlBackends, type TestDatabase } from '../../../../../../test/support/backends.js';
import { tandemMigrations } from './tandem-migrations.js';

describe('tandemMigrations', () => {
  it('are classes whose names end in a timestamp of 13 digits and differ by prefix', () => {
    const names = [...tandemMigrations(), ...tandemMigrations({ tablePrefix: 'shop_' })].map((migration) => migration.name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^(tandem|shop)_[a-z_]+\d{13}$/);
    expect(tandemMigrations().map((migration) => new migration().name)).toEqual(tandemMigrations().map((migration) => migration.name));
  });

  it.each(['', 'Tandem_', '1_', 'a-b', 'x; DROP TABLE y', 'a'.repeat(32)])('refuse the prefix "%s"', (tablePrefix) => {
    expect(() => tandemMigrations({ tablePrefix })).toThrow(expect.objectContaining({ code: 'TANDEM_WIRING' }));
  });
});

describe.each(sqlBackends())('tandemMigrations on $name', (backend) => {
  let database: TestDatabase;
  let dataSource: DataSource;

  const tables = async (): Promise<string[]> => {
    const rows = await dataSource.query<{ name: string }[]>(
      `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ${backend.dialect === 'mysql' ? 'DATABASE()' : 'CURRENT_SCHEMA()'} ORDER BY table_name`,
    );
    return rows.map(({ name }) => name).filter((name) => name !== 'migrations');
  };
  const ofPrefix = (prefix: string): string[] => ['checkpoint', 'command', 'consumer', 'dead_letter', 'event', 'job', 'meta', 'rebuild', 'shard'].map((name) => prefix + name);

  beforeEach(async () => {
    database = await backend.create();
    const options = { ...database.dataSourceOptions, migrations: [...tandemMigrations({ tablePrefix: 'other_' }), ...tandemMigrations()] };
    dataSource = await new DataSource(options as DataSourceOptions).initialize();
  });
  afterEach(async () => {
    await dataSource.destroy();
    await database.drop();
  });

  it('make all tables, 64 shards and the id of the log, for each prefix, and take them away again', async () => {
    await dataSource.runMigrations();
    expect(await tables()).toEqual([...ofPrefix('other_'), ...ofPrefix('tandem_')]);
    const shards = await dataSource.query<{ shard: number }[]>('SELECT shard FROM tandem_shard WHERE head = 0 AND job_head = 0 ORDER BY shard');
    expect(shards.map(({ shard }) => shard)).toEqual(Array.from({ length: 64 }, (_, shard) => shard));
    const ids = await dataSource.query<{ value: string }[]>("SELECT value FROM tandem_meta WHERE name = 'log_id' UNION SELECT value FROM other_meta WHERE name = 'log_id'");
    expect(ids).toHaveLength(2);
    for (const { value } of ids) expect(value).toMatch(/^[0-9a-f]{16}$/);
    expect(await dataSource.runMigrations()).toEqual([]);
    await dataSource.undoLastMigration();
    await dataSource.undoLastMigration();
    expect(await tables()).toEqual([]);
    await dataSource.runMigrations();
    expect(await tables()).toEqual([...ofPrefix('other_'), ...ofPrefix('tandem_')]);
  });

  it('finish a run that was cut short, and change nothing that is there', async () => {
    await dataSource.runMigrations();
    await dataSource.query('UPDATE tandem_shard SET head = 5 WHERE shard = 3');
    const before = await dataSource.query<object[]>('SELECT name, value FROM tandem_meta ORDER BY name');
    await dataSource.query('DROP TABLE tandem_job');
    await dataSource.query('DELETE FROM tandem_shard WHERE shard = 63');
    await dataSource.query("DELETE FROM migrations WHERE name LIKE 'tandem%'");
    await dataSource.runMigrations();
    expect(await dataSource.query<object[]>('SELECT name, value FROM tandem_meta ORDER BY name')).toEqual(before);
    const [row] = await dataSource.query<Record<string, unknown>[]>('SELECT COUNT(*) AS shards, MAX(head) AS head FROM tandem_shard');
    expect(Object.values(row!).map(Number)).toEqual([64, 5]);
    expect(await tables()).toEqual([...ofPrefix('other_'), ...ofPrefix('tandem_')]);
  });

  it('tell ids apart that a default collation takes for the same', async () => {
    await dataSource.runMigrations();
    const insert = (stream: string, seq: number): Promise<unknown> =>
      dataSource.query(
        `INSERT INTO tandem_event (shard, seq, event_id, tenant, stream, version, type, schema_version, payload, metadata, recorded_at) VALUES (1, ${seq}, 'e', '', '${stream}', 1, 't', 1, '{}', '{}', '2025-01-01 00:00:00')`,
      );
    await insert('order-a', 1);
    await insert('order-A', 2);
    await expect(insert('order-a', 3)).rejects.toThrow(/duplicate/i);
  });
});
