import { Inject, Injectable, Optional, type Type } from '@nestjs/common';
import { type AsyncContext, CommandBus, type ICommand } from '@nestjs/cqrs';
import { DispatchAround } from '../../kernel/dispatch-around.js';
import { commandIdOf, handledCommand } from '../../kernel/handler-metadata.js';
import { handlerNotFound } from '../../kernel/handler-not-found.js';
import { type Handler, type HandlerCall, handlerClassOf, HandlerPipeline, type Innermost, type Pipeline } from '../../kernel/handler-pipeline.js';
import { currentMessage, runWithMessage } from '../../kernel/message-context.js';
import { factsFor } from '../../kernel/prepared-message.js';
import { type Unit, UnitOfWork } from '../../kernel/unit-of-work.js';
import { noteEffect } from '../../jobs/job-effect.js';
import { queuedCommandOf } from '../../jobs/queued-command.js';
import { CommandSettings } from './command-settings.js';
import { unitOfWorkChoiceOf } from './unit-of-work.decorator.js';

/** The CommandBus of @nestjs/cqrs with Tandem's pipeline: message facts, consistency, enhancers, and innermost a unit of work. */
@Injectable()
export class TandemCommandBus extends CommandBus {
  @Inject(HandlerPipeline) private readonly pipeline!: HandlerPipeline;
  @Inject(UnitOfWork) private readonly units!: UnitOfWork;
  @Inject(CommandSettings) private readonly settings!: CommandSettings;
  @Optional() @Inject(DispatchAround) private readonly around?: DispatchAround;
  private readonly pipelines = new Map<string, Pipeline>();
  private readonly handled = new Set<string>();
  private underWay = 0;

  /** Commands sent to this process and not answered yet. */
  get running(): number {
    return this.underWay;
  }

  /** @throws HandlerNotFound, or what the handler threw. */
  override async execute<R = void>(command: ICommand, context?: AsyncContext): Promise<R> {
    const pipeline = this.pipelineOf(command);
    this.underWay++;
    try {
      return await runWithMessage(factsFor(command), () => {
        this.publisher.publish(command);
        const run = () => pipeline(command, context) as Promise<R>;
        return this.around ? this.around.command(command, context, run) : run();
      });
    } finally {
      this.underWay--;
    }
  }

  override bind(handler: Handler, id: string): void {
    const handlerClass = handlerClassOf(handler);
    const command = handledCommand(handlerClass)!;
    this.pipelines.set(id, this.pipeline.bind(handler, 'execute', this.innermost(handlerClass, command)));
    this.handled.add(command.name);
  }

  private pipelineOf(command: ICommand): Pipeline {
    const found = this.pipelines.get(commandIdOf(command) ?? '');
    if (found) return found;
    throw handlerNotFound('command', command.constructor.name, [...this.handled]);
  }

  private innermost(handlerClass: Type<object>, command: Type<object>): Innermost | undefined {
    const choice = unitOfWorkChoiceOf(handlerClass);
    const effect = queuedCommandOf(command)?.effect;
    const byDefault = effect === 'sql' || this.settings.unitOfWork === 'all';
    if (choice === 'none' || effect === 'external' || (!choice && !byDefault)) return undefined;
    return ({ handle }) => this.units.run((unit) => (effect === 'sql' ? handleJob(unit, handle) : handle(unit.attempt)), { kind: 'write', ...choice });
  }
}

async function handleJob(unit: Unit, handle: HandlerCall['handle']): Promise<unknown> {
  const result = await handle(unit.attempt);
  noteEffect(unit, currentMessage()!.messageId);
  return result;
}
