import type { Type } from '@nestjs/common';
import { tandemMigrations } from 'nest-tandem/typeorm';
import { shopEntities, shopMigrations } from 'shop';
import type { DataSourceOptions, MigrationInterface } from 'typeorm';

/** Enough for the import's default of 16 commands at once; on MariaDB commands have as many again, of their own. Queries and workers have pools of their own everywhere. */
const POOL_SIZE = 18;

/** For error messages. */
export const MIGRATE_COMMAND = 'npm run migrate';

interface ShopSchema {
  readonly entities: Type[];
  readonly migrations: Type<MigrationInterface>[];
  readonly synchronize: false;
}

/** What every data source of the shop has. The schema comes from migrations only. */
export const shopSchema = (): ShopSchema => ({ entities: shopEntities, migrations: [...tandemMigrations(), ...shopMigrations], synchronize: false });

/** The shop's data source at this URL. */
export function shopDataSource(url: string): DataSourceOptions {
  const common = { url, ...shopSchema(), poolSize: POOL_SIZE };
  return url.startsWith('mysql:') ? { type: 'mysql', charset: 'utf8mb4', ...common } : { type: 'postgres', ...common };
}
