/** The programs in the how-tos are compiled with types, against the built library. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, expect, it } from 'vitest';

const MY_ADAPTER = `import { EventLog, UnitOfWorkRunner } from 'nest-tandem';
export declare class MyDatabase {
  static create(): Promise<MyDatabase>;
  empty(): Promise<void>;
  drop(): Promise<void>;
}
export declare const MyEventLog: new (database: MyDatabase) => EventLog;
export declare const MyUnitOfWork: new (database: MyDatabase) => UnitOfWorkRunner;
`;

let folder: string;
beforeAll(async () => {
  // Inside the repository, so that its packages are found.
  folder = await mkdtemp(join(import.meta.dirname, '.how-to-'));
  await writeFile(join(folder, 'my-adapter.ts'), MY_ADAPTER);
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** All programs of a page are one: later ones use what earlier ones declare. */
async function mistakesIn(page: string): Promise<string[]> {
  const programs = [...(await readFile(`docs/how-to/${page}.md`, 'utf8')).matchAll(/```ts\n([\s\S]*?)```/g)].map(([, program]) => program);
  const file = join(folder, `${page}.spec.ts`);
  await writeFile(file, programs.join('\n'));
  const { config } = ts.readConfigFile('tsconfig.base.json', (path) => ts.sys.readFile(path)) as { config: { compilerOptions: object } };
  const { options } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, noEmit: true, declaration: false, declarationMap: false, sourceMap: false }, '.');
  return ts.getPreEmitDiagnostics(ts.createProgram([file], options)).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

it.each(['write-an-adapter', 'queue-commands', 'import-history'])('the how-to %s shows programs that compile', async (page) => expect(await mistakesIn(page)).toEqual([]));
