// A process to be killed: writes numbered rows into the folder given and says each number once it is committed.
import { EmbeddedPostgres } from '../../libs/tandem/src/adapters/embedded/embedded-postgres.js';

const postgres = new EmbeddedPostgres({ dataDir: process.argv[2]! });
const pool = new postgres.Pool({ ...(await postgres.config()), max: 4 });
await pool.query('CREATE TABLE IF NOT EXISTS written (n INT PRIMARY KEY)');
const { rows } = await pool.query<{ last: number }>('SELECT coalesce(max(n), 0)::int AS last FROM written');
for (let n = rows[0]!.last + 1; ; n += 1) {
  await pool.query('INSERT INTO written VALUES ($1)', [n]);
  process.stdout.write(`${n}\n`);
}
