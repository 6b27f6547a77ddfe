import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DATABASE, type Fleet } from './fleet.js';
import type { Ledger } from './ledger.js';

/** What is needed to understand a violation when the servers are gone: every table, and what the load was told, a row a line. */
export async function keepArtefacts(fleet: Fleet, ledger: Ledger, folder: string): Promise<void> {
  const tables = await fleet.sql<{ name: string }>('SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ?', [DATABASE]);
  for (const { name } of tables) await writeFile(join(folder, `${name}.ndjson`), lines(await fleet.sql<object>(`SELECT * FROM ${name}`)));
  await writeFile(join(folder, 'ledger.ndjson'), lines([...ledger.entries.values()]));
  await writeFile(join(folder, 'mails.ndjson'), lines([...fleet.mail.mails]));
}

const lines = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
