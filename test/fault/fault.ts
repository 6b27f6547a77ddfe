/** `npm run test:fault [-- --minutes N --seed S --database mariadb|mysql --mutant NAME --only TEXT,TEXT --report FILE]`. Exit code 1 with violations. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isMutant, MUTANTS } from './mutants.js';
import { reportText } from './report.js';
import { run } from './rig.js';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    seed: { type: 'string' },
    database: { type: 'string', default: 'mariadb' },
    mutant: { type: 'string' },
    only: { type: 'string' },
    report: { type: 'string' },
  },
});
const minutes = Number(values.minutes ?? (values.mutant ? 0.7 : 30));
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const { database, mutant } = values;
if (database !== 'mariadb' && database !== 'mysql') throw new Error('--database is mariadb or mysql');
if (!(minutes > 0) || !Number.isSafeInteger(seed)) throw new Error('--minutes is a number above 0, and --seed a whole number');
if (mutant !== undefined && !isMutant(mutant)) throw new Error(`--mutant is one of ${Object.keys(MUTANTS).join(', ')}`);

const interrupted = new AbortController();
process.once('SIGINT', () => {
  say('ends at once, and compares what is there; again to end without');
  interrupted.abort();
});

const { folder, report } = await run({ server: database, minutes, seed, mutant, only: values.only?.split(','), say, signal: interrupted.signal });
say(`\n${reportText(report)}`);
if (report.violations.length > 0) {
  say(`logs, tables and ledger: ${folder}; again with --seed ${seed} --minutes ${minutes}${database === 'mysql' ? ' --database mysql' : ''}${mutant ? ` --mutant ${mutant}` : ''}`);
  process.exitCode = 1;
}
const file = values.report ?? (report.violations.length > 0 ? join(folder, 'report.json') : undefined);
if (file) await writeFile(file, `${JSON.stringify(report, undefined, 2)}\n`);
process.exit();
