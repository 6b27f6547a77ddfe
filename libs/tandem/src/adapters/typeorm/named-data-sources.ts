import type { OnModuleInit } from '@nestjs/common';
import type { DiscoveryService } from '@nestjs/core';
import { getDataSourceToken } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import { letStandBeside, nameDataSource } from './data-source-names.js';
import { guardDataSource, isJoined } from './join-data-source.js';

export const DEFAULT_DATA_SOURCE = 'default';

/** The data sources that the application provides, by name. Those that were not made by `tandemDataSource` are guarded: used inside a unit of work they say so. */
export class NamedDataSources implements OnModuleInit {
  private readonly byName = new Map<string, DataSource>();

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly own: DataSource,
    private readonly notAtomic: readonly string[],
  ) {}

  /** @throws TANDEM_WIRING for a name in `notAtomicDataSources` that no data source has. */
  onModuleInit(): void {
    for (const { token, instance, isAlias } of this.discovery.getProviders()) {
      if (!isAlias && (instance as unknown) instanceof DataSource) this.add(nameOf(token), instance as DataSource);
    }
    const unknown = this.notAtomic.find((name) => !this.byName.has(name));
    if (unknown !== undefined) throw new TandemError('TANDEM_WIRING', `\`notAtomicDataSources\` of typeOrmStorage: ${this.problemOf(unknown)}`);
  }

  private add(name: string, dataSource: DataSource): void {
    this.byName.set(name, dataSource);
    nameDataSource(dataSource, name);
    if (dataSource === this.own) return;
    if (this.notAtomic.includes(name)) letStandBeside(dataSource);
    else guardDataSource(dataSource);
  }

  /** @throws TANDEM_WIRING */
  named(name: string): DataSource {
    const problem = this.problemOf(name);
    if (problem !== undefined) throw new TandemError('TANDEM_WIRING', `A unit of work was to run on "${name}": ${problem}`);
    return this.byName.get(name)!;
  }

  problemOf(name: string): string | undefined {
    const found = this.byName.get(name);
    if (!found) return `there is no data source "${name}", only ${[...this.byName.keys()].map((known) => `"${known}"`).join(', ')}`;
    return isJoined(found) ? undefined : `the data source "${name}" was not made by tandemDataSource, so its repositories would not join a unit of work`;
  }
}

function nameOf(token: unknown): string {
  if (token === getDataSourceToken()) return DEFAULT_DATA_SOURCE;
  return typeof token === 'string' ? token.replace(/DataSource$/, '') : String((token as { name?: string }).name ?? token);
}
