import 'reflect-metadata';
import { TandemError } from '../../kernel/errors.js';
import { knownOptions } from '../../kernel/known-options.js';

export interface CacheResultOptions {
  /** How long an answer may be given again, in milliseconds. Default 300,000. */
  readonly ttlMs?: number;
  /** Keep at most this many answers of this handler, apart from the others. Default: a share of the application's 10,000. */
  readonly maxEntries?: number;
}

export interface CacheResultDefinition {
  readonly ttlMs: number;
  readonly maxEntries: number | undefined;
}

const CACHE_RESULT = 'tandem:cache-result';
const OPTIONS: Readonly<Record<keyof CacheResultOptions, true>> = { ttlMs: true, maxEntries: true };

/**
 * Keeps the answers of a query handler in memory until a projection changes an entity of its `@Reads`, or `ttlMs` is over. The
 * key is the query's class, its own properties and the tenant: a handler whose answer depends on anything else (the actor, the
 * clock) must not be cached. Answers are deep-frozen, dates, maps and sets included, because every caller gets the same object;
 * one that cannot be frozen (bytes, promises, functions) is passed through and not kept, nor is that of a query with `#private` fields.
 * @throws TANDEM_WIRING for an unknown option, and a `ttlMs` or `maxEntries` that is not a whole number from 1.
 */
export function CacheResult(options: CacheResultOptions = {}): ClassDecorator {
  return (target) => {
    const { ttlMs = 300_000, maxEntries } = knownOptions(`@CacheResult on ${target.name}`, options, OPTIONS);
    const definition: CacheResultDefinition = { ttlMs, maxEntries };
    for (const [name, value] of Object.entries(definition) as [string, number | undefined][]) {
      if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
        throw new TandemError('TANDEM_WIRING', `@CacheResult on ${target.name}: ${name} is a whole number from 1, not ${value}`);
    }
    Reflect.defineMetadata(CACHE_RESULT, Object.freeze(definition), target);
  };
}

/** The definition of a handler class, or undefined when it has no `@CacheResult`. */
export const cacheResultOf = (handlerClass: object): CacheResultDefinition | undefined => Reflect.getMetadata(CACHE_RESULT, handlerClass) as CacheResultDefinition | undefined;
