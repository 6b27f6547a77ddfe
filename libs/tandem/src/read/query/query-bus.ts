import { Inject, Injectable } from '@nestjs/common';
import { type AsyncContext, type IQuery, QueryBus } from '@nestjs/cqrs';
import { handledQuery, queryIdOf } from '../../kernel/handler-metadata.js';
import { handlerNotFound } from '../../kernel/handler-not-found.js';
import { type Handler, handlerClassOf, HandlerPipeline, type Pipeline } from '../../kernel/handler-pipeline.js';
import { runWithMessage } from '../../kernel/message-context.js';
import { factsFor } from '../../kernel/prepared-message.js';
import { QueryPath } from './query-path.js';

/** The QueryBus of @nestjs/cqrs with Tandem's pipeline: message facts, enhancers, and innermost the query path (cache, freshness). */
@Injectable()
export class TandemQueryBus extends QueryBus {
  @Inject(HandlerPipeline) private readonly pipeline!: HandlerPipeline;
  @Inject(QueryPath) private readonly path!: QueryPath;
  private readonly pipelines = new Map<string, Pipeline>();
  private readonly handled = new Set<string>();

  /** @throws HandlerNotFound, or what the handler threw. */
  override async execute<T extends IQuery, R = unknown>(query: T, context?: AsyncContext): Promise<R> {
    const pipeline = this.pipelineOf(query);
    return runWithMessage(factsFor(query), () => {
      this.publisher.publish(query);
      return pipeline(query, context) as Promise<R>;
    });
  }

  override bind(handler: Handler, id: string): void {
    const handlerClass = handlerClassOf(handler);
    this.pipelines.set(
      id,
      this.pipeline.bind(handler, 'execute', ({ message, context, handle }) => this.path.run(handlerClass, message, context, () => handle(1))),
    );
    this.handled.add(handledQuery(handlerClass)!.name);
  }

  private pipelineOf(query: IQuery): Pipeline {
    const found = this.pipelines.get(queryIdOf(query) ?? '');
    if (found) return found;
    throw handlerNotFound('query', query.constructor.name, [...this.handled]);
  }
}
