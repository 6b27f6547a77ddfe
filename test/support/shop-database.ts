import { shopEntities, shopMigrations } from 'shop';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { SqlBackend } from './backends.js';

export interface ShopDatabase {
  readonly source: DataSource;
  close(): Promise<void>;
}

/** A fresh database with the shop's tables, without Tandem: for what handlers do to their tables. */
export async function shopDatabase(backend: SqlBackend): Promise<ShopDatabase> {
  const database = await backend.create();
  const timezone = backend.dialect === 'mysql' ? { timezone: 'Z' } : {};
  const source = await new DataSource({ ...database.dataSourceOptions, ...timezone, entities: shopEntities, migrations: shopMigrations } as DataSourceOptions).initialize();
  await source.runMigrations();
  return {
    source,
    async close() {
      await source.destroy();
      await database.drop();
    },
  };
}
