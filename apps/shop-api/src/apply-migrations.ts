import { checkSchema } from 'nest-tandem/typeorm';
import { DataSource } from 'typeorm';
import { MIGRATE_COMMAND, shopDataSource } from './data-source-options.js';

/** Brings the schema at this URL up to date. Returns the names of the steps that had not run. @throws where the application could not start on it all the same */
export async function applyMigrations(url: string): Promise<readonly string[]> {
  const dataSource = await new DataSource(shopDataSource(url)).initialize();
  try {
    const done = await dataSource.runMigrations({ transaction: 'each' });
    await checkSchema(dataSource, { migrateCommand: MIGRATE_COMMAND });
    return done.map(({ name }) => name);
  } finally {
    await dataSource.destroy();
  }
}
