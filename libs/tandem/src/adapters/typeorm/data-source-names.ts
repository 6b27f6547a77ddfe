/**
 * An application may have several data sources; a unit of work has one. What is used of the others inside a unit would commit by
 * itself, so it is refused unless the application says that it knows.
 */
import type { DataSource } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';

const names = new WeakMap<DataSource, string>();
const notAtomic = new WeakSet<DataSource>();

export function nameDataSource(dataSource: DataSource, name: string): void {
  names.set(dataSource, name);
}

/** Lets it be used inside units of work on another data source, where it commits by itself. */
export function letStandBeside(dataSource: DataSource): void {
  notAtomic.add(dataSource);
}

export const mayStandBeside = (dataSource: DataSource): boolean => notAtomic.has(dataSource);

export function otherDataSource(used: DataSource, inside: DataSource | undefined): TandemError {
  const name = names.get(used);
  const what = name === undefined ? 'Another data source' : `The data source "${name}"`;
  const where = (inside && names.get(inside)) ?? 'another one';
  return new TandemError('TANDEM_OTHER_DATA_SOURCE', `${what} was used inside a unit of work on ${where === 'another one' ? where : `"${where}"`}, and would not commit with it`, {
    next:
      `Do it in a queued command, or with \`unitOfWork.outside(() => …)\`; \`@UnitOfWork({ dataSource: '${name ?? 'name'}' })\` runs a whole handler there, ` +
      `and \`notAtomicDataSources: ['${name ?? 'name'}']\` of typeOrmStorage lets it through, to commit by itself.`,
  });
}
