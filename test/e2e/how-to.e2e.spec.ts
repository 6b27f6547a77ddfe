/** The programs in the how-tos are compiled with types, against the built library. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const MY_ADAPTER = `import { EventLog, UnitOfWorkRunner } from 'nest-tandem';
export declare class MyDatabase {
  static create(): Promise<MyDatabase>;
  empty(): Promise<void>;
  drop(): Promise<void>;
}
export declare const MyEventLog: new (database: MyDatabase) => EventLog;
export declare const MyUnitOfWork: new (database: MyDatabase) => UnitOfWorkRunner;
`;

describe('the how-to about adapters', () => {
  let folder: string;

  beforeAll(async () => {
    // Inside the repository, so that its packages are found.
    folder = await mkdtemp(join(import.meta.dirname, '.how-to-'));
    const [, program] = /```ts\n([\s\S]*?)```/.exec(await readFile('docs/how-to/write-an-adapter.md', 'utf8'))!;
    await writeFile(join(folder, 'my-adapter.spec.ts'), program!);
    await writeFile(join(folder, 'my-adapter.ts'), MY_ADAPTER);
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('shows a spec that compiles', () => {
    const { config } = ts.readConfigFile('tsconfig.base.json', (path) => ts.sys.readFile(path)) as { config: { compilerOptions: object } };
    const { options } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, noEmit: true, declaration: false, declarationMap: false, sourceMap: false }, '.');
    const program = ts.createProgram([join(folder, 'my-adapter.spec.ts')], options);
    expect(ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([]);
  });
});
