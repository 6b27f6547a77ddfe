import { DataSource } from 'typeorm';
import { shopDataSource } from './data-source-options.js';

/** Brings the schema at this URL up to date. Returns the names of the steps that had not run. */
export async function applyMigrations(url: string): Promise<readonly string[]> {
  const dataSource = await new DataSource(shopDataSource(url)).initialize();
  try {
    const done = await dataSource.runMigrations({ transaction: 'each' });
    return done.map(({ name }) => name);
  } finally {
    await dataSource.destroy();
  }
}
