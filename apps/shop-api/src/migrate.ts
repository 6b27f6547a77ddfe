/** `npm run migrate`: Tandem's tables and the shop's, on the database that DATABASE_URL names. */
import { applyMigrations } from './apply-migrations.js';
import { readEnvironment } from './environment.js';
import { fail } from './process-life.js';

try {
  const { databaseUrl } = readEnvironment();
  if (databaseUrl === undefined) process.stdout.write('Nothing to do: DATABASE_URL is unset, and the embedded database migrates itself when it starts.\n');
  else await migrate(databaseUrl);
} catch (error) {
  fail('migrate', error);
}

async function migrate(url: string): Promise<void> {
  const done = await applyMigrations(url);
  process.stdout.write(done.length > 0 ? done.map((name) => `applied ${name}\n`).join('') : 'Nothing to do: the schema is up to date.\n');
}
