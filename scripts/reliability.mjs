// node scripts/reliability.mjs REPORT.json… writes the tables of docs/reliability.md from reports of `npm run test:fault -- --report FILE`:
// of runs without a mutant those of the last run on each database, of runs with one a row each for them.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import prettier from 'prettier';

const PAGE = 'docs/reliability.md';
const number = (value) => value.toLocaleString('en');
const row = (...cells) => `| ${cells.join(' | ')} |`;

function runTables(report) {
  const { acknowledged, refused, unknown } = report.commands;
  const command = `npm run test:fault -- --minutes ${report.minutes} --seed ${report.seed}${report.database === 'MySQL' ? ' --database mysql' : ''}`;
  const verdict = report.violations.length === 0 ? '**0**' : report.violations.map(({ count, rule }) => `${rule}: ${count}`).join('; ');
  return [
    `\`${command}\` on ${cpus().length} cores (${cpus()[0].model.trim()}), Node ${process.version.slice(1)}, ${report.database === 'MySQL' ? 'MySQL 8.4' : 'MariaDB 10.11'}, Redis 7; ${number(report.seconds)} s with start and rest.`,
    '',
    row('', ''),
    row('---', '---:'),
    row('events in the log', number(report.events)),
    row('commands acknowledged', number(acknowledged)),
    row('of them when they were sent again with the same id', number(report.repeated)),
    row('commands refused', number(refused)),
    row('commands of unknown outcome', number(unknown)),
    ...Object.entries(report.faultsByKind).map(([kind, count]) => row(kind, number(count))),
    row('projections rebuilt', number(report.rebuilds)),
    row('starts of processes', number(report.starts)),
    row(`of them with a clock that was off by an hour (${report.clocks})`, number(report.skewedStarts)),
    row('**violations**', verdict),
    '',
    ...failpointTable(report),
  ];
}

function failpointTable({ faults }) {
  const points = new Map();
  for (const [name, count] of Object.entries(faults)) {
    const [, act, point] = /^(kill|stop|throw) at (.*)$/.exec(name) ?? [];
    if (point) points.set(point, { ...points.get(point), [act]: count });
  }
  const rows = [...points].map(([point, { kill = 0, stop = 0, throw: thrown = 0 }]) => row(`\`${point}\``, kill, stop, thrown));
  return [row('failpoint', 'kill -9', 'SIGSTOP, 6 s', 'error'), row('---', '---:', '---:', '---:'), ...rows.toSorted()];
}

const mutantTable = (reports) => [
  row('mutant', 'rule that it breaks', 'seconds', 'events', 'violated'),
  row('---', '---', '---:', '---:', '---'),
  ...reports.map(({ breaks, events, mutant, seconds, violations }) =>
    row(`\`${mutant}\``, breaks, seconds, number(events), violations.map(({ count, rule }) => `${rule} (${number(count)})`).join('; ') || '**not caught**'),
  ),
];

function put(page, name, lines) {
  const [begin, end] = [`<!-- ${name}: by scripts/reliability.mjs -->`, `<!-- end of ${name} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${PAGE} has no place for ${name}`);
  return `${page.slice(0, from + begin.length)}\n\n${lines.join('\n')}\n\n${page.slice(to)}`;
}

const reports = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, 'utf8')));
const mutants = reports.filter(({ mutant }) => mutant);
const lastOn = (database) => reports.findLast((report) => !report.mutant && (report.database ?? 'MariaDB') === database);
let page = readFileSync(PAGE, 'utf8');
for (const [name, last] of [
  ['last run', lastOn('MariaDB')],
  ['last run on MySQL', lastOn('MySQL')],
])
  if (last) page = put(page, name, runTables(last));
if (mutants.length > 0) page = put(page, 'mutants', mutantTable(mutants));
writeFileSync(PAGE, await prettier.format(page, { ...(await prettier.resolveConfig(PAGE)), filepath: PAGE }));
