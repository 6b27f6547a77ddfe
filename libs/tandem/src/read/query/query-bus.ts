import { Inject, Injectable, type Type } from '@nestjs/common';
import { type AsyncContext, type IQuery, QueryBus } from '@nestjs/cqrs';
import { handledQuery } from '../../kernel/handler-metadata.js';
import { HandlerNotFound } from '../../kernel/handler-not-found.js';
import { type Handler, handlerClassOf, HandlerPipeline, type Pipeline } from '../../kernel/handler-pipeline.js';
import { runWithMessage } from '../../kernel/message-context.js';
import { factsFor } from '../../kernel/prepared-message.js';
import { QueryPath } from './query-path.js';

/** The QueryBus of @nestjs/cqrs with Tandem's pipeline: message facts, enhancers, and innermost the query path (cache, freshness). */
@Injectable()
export class TandemQueryBus extends QueryBus {
  @Inject(HandlerPipeline) private readonly pipeline!: HandlerPipeline;
  @Inject(QueryPath) private readonly path!: QueryPath;
  private readonly pipelines = new Map<Type<object>, Pipeline>();

  /** @throws HandlerNotFound, or what the handler threw. */
  override async execute<T extends IQuery, R = unknown>(query: T, context?: AsyncContext): Promise<R> {
    const pipeline = this.pipelineOf(query);
    return runWithMessage(factsFor(query), () => {
      this.publisher.publish(query);
      return pipeline(query, context) as Promise<R>;
    });
  }

  override bind(handler: Handler): void {
    const handlerClass = handlerClassOf(handler);
    const innermost = this.pipeline.bind(handler, 'execute', ({ message, context, handle }) => this.path.run(handlerClass, message, context, () => handle(1)));
    this.pipelines.set(handledQuery(handlerClass)!, innermost);
  }

  /** A query without a handler of its own goes to that of the class it extends, as in @nestjs/cqrs. */
  private pipelineOf(query: IQuery): Pipeline {
    for (let type: unknown = query.constructor; typeof type === 'function'; type = Object.getPrototypeOf(type)) {
      const found = this.pipelines.get(type as Type<object>);
      if (found) return found;
    }
    throw new HandlerNotFound(
      'query',
      query.constructor.name,
      [...this.pipelines.keys()].map(({ name }) => name),
    );
  }
}
