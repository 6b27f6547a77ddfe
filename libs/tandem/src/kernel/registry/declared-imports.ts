/**
 * Who imports what, as the modules' own code says. What Nest has put together does not tell: there every module imports the global ones.
 * An import that is a promise is not seen.
 */
import 'reflect-metadata';
import { type DynamicModule, type ForwardReference, Module, type Type } from '@nestjs/common';

export interface DeclaredImport {
  /** Name of the module that imports. */
  readonly importer: string;
  readonly type: Type<object>;
  /** Undefined for a module that is imported as it stands. */
  readonly dynamic: DynamicModule | undefined;
}

type Entry = NonNullable<DynamicModule['imports']>[number];

class Imported {}
@Module({ imports: [Imported] })
class Probe {}
/** Nest's key is not public: it is found on a module of our own. */
const IMPORTS = Reflect.getMetadataKeys(Probe).find((key: unknown) => (Reflect.getMetadata(key, Probe) as unknown[] | undefined)?.[0] === Imported) as string;

export function declaredImports(modules: readonly Type<object>[]): DeclaredImport[] {
  return [...new Set(modules)].flatMap((module) => ((Reflect.getMetadata(IMPORTS, module) as readonly Entry[] | undefined) ?? []).flatMap((entry) => declared(module.name, entry)));
}

function declared(importer: string, entry: Entry): DeclaredImport[] {
  const given = (entry as Partial<ForwardReference<() => Entry>>).forwardRef?.() ?? entry;
  if (typeof given === 'function') return [{ importer, type: given as Type<object>, dynamic: undefined }];
  if (!('module' in given)) return [];
  const below = (given.imports ?? []).flatMap((import_) => declared(given.module.name, import_));
  return [{ importer, type: given.module as Type<object>, dynamic: given }, ...below];
}
