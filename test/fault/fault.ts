/** `npm run test:fault [-- --minutes N --seed S --mutant NAME --only TEXT,TEXT --report FILE]`. Exit code 1 with violations. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isMutant, MUTANTS } from './mutants.js';
import { reportText } from './report.js';
import { run } from './rig.js';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const { values } = parseArgs({
  options: { minutes: { type: 'string' }, seed: { type: 'string' }, mutant: { type: 'string' }, only: { type: 'string' }, report: { type: 'string' } },
});
const minutes = Number(values.minutes ?? (values.mutant ? 0.7 : 30));
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
const { mutant } = values;
if (!(minutes > 0) || !Number.isSafeInteger(seed)) throw new Error('--minutes is a number above 0, and --seed a whole number');
if (mutant !== undefined && !isMutant(mutant)) throw new Error(`--mutant is one of ${Object.keys(MUTANTS).join(', ')}`);

const { folder, report } = await run({ minutes, seed, mutant, only: values.only?.split(','), say });
say(`\n${reportText(report)}`);
const file = values.report ?? join(folder, 'report.json');
await writeFile(file, `${JSON.stringify(report, undefined, 2)}\n`);
if (report.violations.length > 0) {
  say(`report: ${file}; logs of the processes: ${folder}; again with --seed ${seed} --minutes ${minutes}`);
  process.exitCode = 1;
} else await rm(folder, { recursive: true, force: true });
process.exit();
