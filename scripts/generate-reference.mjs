// Writes docs/reference/errors.md and options.md from the source, so that they cannot lie. `--check` fails where they differ.
import { readFileSync, writeFileSync } from 'node:fs';
import ts from 'typescript';

const check = process.argv.includes('--check');
const parse = (path) => ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2023, true);

/** The text of a member's doc comment, in one line. */
const docOf = (node) =>
  ts
    .getJSDocCommentsAndTags(node)
    .map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? '')
    .join(' ')
    .replace(/\s+/g, ' ')
    .trim();

function find(source, matches) {
  let found;
  const visit = (node) => (matches(node) ? (found = node) : ts.forEachChild(node, visit));
  visit(source);
  if (!found) throw new Error(`${source.fileName} no longer has what the reference is made from`);
  return found;
}

function errorTable() {
  const source = parse('libs/tandem/src/kernel/errors.ts');
  const catalogue = find(source, (node) => ts.isVariableDeclaration(node) && node.name.getText() === 'ERROR_CATALOGUE');
  const literal = find(source, (node) => ts.isObjectLiteralExpression(node) && node.pos > catalogue.pos);
  const rows = literal.properties.map((property) => `| \`${property.name.getText()}\` | ${property.initializer.text.replaceAll('|', '\\|')} |`);
  return [
    '# Error codes',
    '',
    'Every error that Tandem raises on purpose is a `TandemError` with one of these codes. Handle by code, never by message.',
    '',
    '| code | what to do next |',
    '| --- | --- |',
    ...rows,
    '',
  ];
}

function optionRows(path, name) {
  const settings = find(parse(path), (node) => ts.isInterfaceDeclaration(node) && node.name.text === name);
  return [
    '| option | type | meaning |',
    '| --- | --- | --- |',
    ...settings.members.map((member) => `| \`${member.name.getText()}\` | \`${member.type.getText().replaceAll('|', '\\|')}\` | ${docOf(member)} |`),
    '',
  ];
}

function optionTable() {
  return [
    '# Options of `TandemModule.forRoot`',
    '',
    'Beside `storage` and `jobs`, the adapters. An unknown option refuses the start.',
    '',
    ...optionRows('libs/tandem/src/tandem.options.ts', 'TandemSettings'),
    '# Options of `typeOrmStorage`',
    '',
    ...optionRows('libs/tandem/src/adapters/typeorm/typeorm-storage.ts', 'TypeOrmStorageOptions'),
    '# Options of `bullMqJobs`',
    '',
    ...optionRows('libs/tandem/src/adapters/bullmq/bullmq-jobs.ts', 'BullMqJobsOptions'),
    '# Options of `embedded`',
    '',
    ...optionRows('libs/tandem/src/adapters/embedded/embedded.ts', 'EmbeddedOptions'),
  ];
}

let stale = false;
const tables = { 'docs/reference/errors.md': errorTable(), 'docs/reference/options.md': optionTable() };
for (const [path, lines] of Object.entries(tables)) {
  const text = `${lines.join('\n').trimEnd()}\n`;
  if (!check) {
    writeFileSync(path, text);
    continue;
  }
  let current = '';
  try {
    current = readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  if (current !== text) {
    stale = true;
    console.error(`${path} is not what the source says: run npm run reference`);
  }
}
process.exitCode = stale ? 1 : 0;
