/** The command line of the import, beside what `import.e2e.spec.ts` tries of its work. */
import { execFile } from 'node:child_process';
import { link, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PGlite } from '@electric-sql/pglite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HEADER } from './invoices.js';
import { newFolder, removeFolder, ShopProcess } from './shop-process.js';

const PATIENCE = 180_000;
const ORDER = '12/1/2010 8:26,17850,France,1,2.5';
const run = promisify(execFile);

describe('npm run import', () => {
  let folder: string;
  let csv: string;
  // One folder for all of them: building the database takes seconds.
  beforeAll(async () => {
    folder = await newFolder();
    csv = join(folder, 'invoices.csv');
    await writeFile(csv, `${HEADER}\n600001,${ORDER}\n600002,${ORDER}\n600001,${ORDER}\nx,${ORDER}\n`);
  });
  afterAll(() => removeFolder(folder));
  const importFile = (file: string, ...more: string[]) => new ShopProcess('shop-api/dist/import.js', folder, {}, { args: [file, ...more] }).exit;

  it(
    'prints one JSON object and nothing else on stdout when npm is silent',
    async () => {
      // An empty variable is unset, and one that stands in a .env file beside is not read.
      const env = { PATH: process.env.PATH, HOME: folder, DATA_DIR: join(folder, '.data'), DATABASE_URL: '', REDIS_URL: '', TANDEM_ROLE: '' };
      const { stdout, stderr } = await run('npm', ['run', '--silent', 'import', '--', csv, '--json'], { cwd: join(import.meta.dirname, '../..'), env });
      expect(JSON.parse(stdout)).toEqual({ placed: 2, returned: 0, already_imported: 1, rejected: { not_an_invoice: 1 } });
      expect(stdout.trimEnd()).not.toContain('\n');
      expect(stderr).not.toContain('Error');
    },
    PATIENCE,
  );

  it('does not write the rejects over the file that it reads, by whatever name', async () => {
    await link(csv, join(folder, 'same.csv'));
    await symlink(csv, join(folder, 'link.csv'));
    const before = await readFile(csv, 'utf8');
    for (const rejects of ['invoices.csv', 'same.csv', 'link.csv'].map((name) => join(folder, name))) {
      const { code, stdout, stderr } = await importFile(csv, '--rejects', rejects);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(/^import: [^\n]+ is the file to import; name another one for the rejects\n$/);
      expect(await readFile(csv, 'utf8')).toBe(before);
    }
  });

  it(
    'prints its summary also when a projection does not take what was written, and says which in one line',
    async () => {
      const db = await PGlite.create({ dataDir: join(folder, '.data/postgres') });
      await db.exec(`ALTER TABLE shop_country_sales ADD CHECK (country <> 'Nowhere')`);
      await db.close();
      await writeFile(join(folder, 'nowhere.csv'), `${HEADER}\n600003,${ORDER.replace('France', 'Nowhere')}\n`);
      const { code, stdout, stderr } = await importFile(join(folder, 'nowhere.csv'), '--json');
      expect(JSON.parse(stdout)).toMatchObject({ placed: 1 });
      expect(code).toBe(1);
      expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/^import: the read side does not catch up by itself: sales\.by-country is halted/);
      expect(stderr).not.toMatch(/^ +at /m);
    },
    PATIENCE,
  );
});
