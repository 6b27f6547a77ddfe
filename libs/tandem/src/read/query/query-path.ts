import { Injectable, type Type } from '@nestjs/common';
import type { AsyncContext } from '@nestjs/cqrs';
import { QueryCache } from '../query-cache/query-cache.js';
import { FreshRead } from './fresh-read.js';
import { demandOf } from './read-demand.js';
import { readsOf } from './reads.js';

/** The innermost way of every query, inside of its interceptors: cache, then a snapshot as fresh as demanded, then the handler. */
@Injectable()
export class QueryPath {
  constructor(
    private readonly cache: QueryCache,
    private readonly fresh: FreshRead,
  ) {}

  /** `context` is the second argument of `queryBus.execute`, which may carry a demand; `work` runs the handler and may run more than once. */
  async run(handlerClass: Type, query: object, context: AsyncContext | undefined, work: () => Promise<unknown>): Promise<unknown> {
    const made = demandOf(context);
    const entities = readsOf(handlerClass);
    return this.cache.answer({ handlerClass, query, demand: made.demand, entities }, (keepPositions) => this.fresh.run({ ...made, entities, keepPositions }, work));
  }
}
