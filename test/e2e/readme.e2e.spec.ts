/** The README's program is compiled with types and run, as a newcomer would. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);

describe('the README’s program', () => {
  let folder: string;
  let file: string;

  beforeAll(async () => {
    // Inside the repository, so that its packages are found.
    folder = await mkdtemp(join(import.meta.dirname, '.readme-'));
    file = join(folder, 'program.ts');
    const [, program] = /```ts\n([\s\S]*?)```/.exec(await readFile('README.md', 'utf8'))!;
    await writeFile(file, program!);
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('compiles and prints what the README says', async () => {
    const { config } = ts.readConfigFile('tsconfig.base.json', (path) => ts.sys.readFile(path)) as { config: { compilerOptions: object } };
    const { options } = ts.convertCompilerOptionsFromJson(
      { ...config.compilerOptions, outDir: join(folder, 'out'), declaration: false, declarationMap: false, sourceMap: false },
      '.',
    );
    const program = ts.createProgram([file], options);
    const problems = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics].map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
    expect(problems).toEqual([]);

    const { stdout } = await run(process.execPath, [join(folder, 'out', 'program.js')], { cwd: folder });
    expect(stdout).toContain("UserView { id: 'ada', name: 'Ada Lovelace' }");
  });
});
