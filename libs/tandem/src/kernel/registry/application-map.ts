import { Injectable, type Type } from '@nestjs/common';
import { DiscoveryService, ModulesContainer } from '@nestjs/core';
import { CqrsModule } from '@nestjs/cqrs';

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

  /** For each CqrsModule beside Tandem's: the names of the modules that import it. */
  get otherCqrsModules(): readonly (readonly string[])[] {
    const all = [...this.modules.values()];
    const others = all.filter((module) => module.metatype === CqrsModule && !module.providers.has(TANDEM_BUSES));
    return others.map((other) => all.filter((module) => module.imports.has(other)).map(({ name }) => name));
  }

  /** Names of APP_GUARD, APP_INTERCEPTOR and APP_PIPE classes that are made anew for each request. Nest keeps them with the enhancers of classes, whose tokens are classes. */
  get requestScopedGlobals(): readonly string[] {
    return [...this.modules.values()]
      .flatMap((module) => [...module.injectables.values()])
      .filter(({ subtype, token }) => subtype && subtype !== 'filter' && typeof token === 'string')
      .map(({ metatype, name }) => (metatype as Type | null)?.name ?? String(name));
  }
}
