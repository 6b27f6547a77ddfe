import { type DynamicModule, Injectable, type Type } from '@nestjs/common';
import { DiscoveryService, ModulesContainer } from '@nestjs/core';
import { CqrsModule } from '@nestjs/cqrs';
import { type DeclaredImport, declaredImports } from './declared-imports.js';

/** Marks the one CqrsModule whose buses are Tandem's. */
export const TANDEM_BUSES = Symbol('tandem:buses');

/** A class that the application provides, and where. */
export interface Provided {
  readonly type: Type<object>;
  /** Name of the module that provides it. */
  readonly module: string;
  /** Undefined for a class that is made anew for each message. */
  readonly instance: object | undefined;
  /** Tokens of what it injects, by constructor or property. */
  readonly injects: readonly unknown[];
}

/** For messages: `PlaceOrderHandler (OrdersModule)`. */
export const placeOf = ({ type, module }: Provided): string => `${type.name} (${module})`;

/** What Nest put together, as the wiring check sees it. Complete once every module is initialized. */
@Injectable()
export class ApplicationMap {
  private found: readonly Provided[] | undefined;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly modules: ModulesContainer,
  ) {}

  /** Every provided class, once for each module that provides it. */
  get provided(): readonly Provided[] {
    return (this.found ??= this.discovery.getProviders().flatMap((wrapper) => {
      const made = wrapper.instance as object | null | undefined;
      const type = (made?.constructor ?? wrapper.metatype) as Type<object> | undefined;
      if (wrapper.isAlias || typeof type !== 'function') return [];
      const instance = wrapper.isDependencyTreeStatic() ? (made ?? undefined) : undefined;
      // Both are undefined, whatever their type says, where Nest had nothing to resolve.
      const byProperty = (wrapper.getPropertiesMetadata() ?? []).map((property) => property.wrapper);
      const injects = [...(wrapper.getCtorMetadata() ?? []), ...byProperty].map((dependency) => dependency?.token);
      return [{ type, module: wrapper.host?.name ?? 'an unknown module', instance, injects }];
    }));
  }

  /** Names of the modules that import a CqrsModule beside Tandem's; none when there is only Tandem's. */
  get otherCqrsImporters(): readonly string[] {
    const others = this.cqrsModules.filter((module) => !module.providers.has(TANDEM_BUSES));
    if (others.length === 0) return [];
    const direct = others.filter(({ isGlobal }) => !isGlobal).flatMap((other) => [...this.modules.values()].filter((module) => module.imports.has(other)).map(({ name }) => name));
    const declared = this.imports.filter(({ type, dynamic }) => type === CqrsModule && dynamic && !bringsBuses(dynamic)).map(({ importer }) => importer);
    const names = new Set([...direct, ...declared]);
    return names.size > 0 ? [...names] : ['a module that is not a class'];
  }

  /** Names of the modules that import Tandem with settings: it has to be one. */
  get tandemImporters(): readonly string[] {
    return this.imports.filter(({ dynamic }) => dynamic?.imports?.some((inner) => bringsBuses(inner as DynamicModule))).map(({ importer }) => importer);
  }

  /** Names of APP_GUARD, APP_INTERCEPTOR and APP_PIPE classes that are made anew for each request. Nest keeps them with the enhancers of classes, whose tokens are classes. */
  get requestScopedGlobals(): readonly string[] {
    return [...this.modules.values()]
      .flatMap((module) => [...module.injectables.values()])
      .filter(({ subtype, token }) => subtype && subtype !== 'filter' && typeof token === 'string')
      .map(({ metatype, name }) => (metatype as Type | null)?.name ?? String(name));
  }

  private get cqrsModules() {
    return [...this.modules.values()].filter(({ metatype }) => metatype === CqrsModule);
  }

  private get imports(): DeclaredImport[] {
    return declaredImports([...this.modules.values()].map(({ metatype }) => metatype));
  }
}

const bringsBuses = ({ providers }: DynamicModule): boolean => providers?.some((provider) => 'provide' in provider && provider.provide === TANDEM_BUSES) ?? false;
