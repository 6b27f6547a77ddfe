import { Inject, Injectable, Optional, type Type } from '@nestjs/common';
import { type AsyncContext, CommandBus, type ICommand } from '@nestjs/cqrs';
import { DispatchAround } from '../../kernel/dispatch-around.js';
import { commandIdOf, handledCommand } from '../../kernel/handler-metadata.js';
import { handlerNotFound } from '../../kernel/handler-not-found.js';
import { type Handler, type HandlerCall, handlerClassOf, HandlerPipeline, type Innermost, type Pipeline } from '../../kernel/handler-pipeline.js';
import { currentMessage, type MessageFacts, runWithMessage } from '../../kernel/message-context.js';
import { factsFor } from '../../kernel/prepared-message.js';
import { type Unit, UnitOfWork } from '../../kernel/unit-of-work.js';
import { handleTogether, noteEffect, runsTogether } from '../../jobs/job-effect.js';
import { queuedCommandOf } from '../../jobs/queued-command.js';
import { commandIdFor } from './command-id.js';
import { CommandIds, idempotencyKeyOf, idRefused } from './command-ids.js';
import { CommandSettings } from './command-settings.js';
import { unitOfWorkChoiceOf } from './unit-of-work.decorator.js';

interface BoundCommand {
  readonly pipeline: Pipeline;
  readonly hasUnit: boolean;
}

/** The CommandBus of @nestjs/cqrs with Tandem's pipeline: message facts, consistency, enhancers, and innermost a unit of work. */
@Injectable()
export class TandemCommandBus extends CommandBus {
  @Inject(HandlerPipeline) private readonly pipeline!: HandlerPipeline;
  @Inject(UnitOfWork) private readonly units!: UnitOfWork;
  @Inject(CommandIds) private readonly ids!: CommandIds;
  @Inject(CommandSettings) private readonly settings!: CommandSettings;
  @Optional() @Inject(DispatchAround) private readonly around?: DispatchAround;
  private readonly bound = new Map<string, BoundCommand>();
  private readonly handled = new Set<string>();
  private underWay = 0;

  /** Commands sent to this process and not answered yet. */
  get running(): number {
    return this.underWay;
  }

  /** @throws HandlerNotFound, TANDEM_COMMAND_ID_REFUSED, or what the handler threw. */
  override async execute<R = void>(command: ICommand, context?: AsyncContext): Promise<R> {
    const { hasUnit, pipeline } = this.boundFor(command);
    const facts = factsWithId(command, context);
    if (facts.commandId && !hasUnit) throw idRefused(command.constructor.name, facts.commandId.id);
    this.underWay++;
    try {
      return await runWithMessage(facts, () => {
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
    const innermost = this.innermost(handlerClass, command);
    this.bound.set(id, { pipeline: this.pipeline.bind(handler, 'execute', innermost), hasUnit: innermost !== undefined });
    this.handled.add(command.name);
  }

  /** Of several jobs, where the command is one of them. */
  private unitOfBatch(): Unit | undefined {
    const unit = this.units.current;
    return unit && runsTogether(unit, currentMessage()!.messageId) ? unit : undefined;
  }

  private boundFor(command: ICommand): BoundCommand {
    const found = this.bound.get(commandIdOf(command) ?? '');
    if (found) return found;
    throw handlerNotFound('command', command.constructor.name, [...this.handled]);
  }

  private innermost(handlerClass: Type<object>, command: Type<object>): Innermost | undefined {
    const choice = unitOfWorkChoiceOf(handlerClass);
    const definition = queuedCommandOf(command);
    const byDefault = definition?.effect === 'sql' || this.settings.unitOfWork === 'all';
    if (choice === 'none' || definition?.effect === 'external' || (!choice && !byDefault)) return undefined;
    const handleIn = (unit: Unit, handle: HandlerCall['handle']) => (definition?.effect === 'sql' ? handleJob(unit, handle) : handle(unit.attempt));
    const mayShare = definition !== undefined && definition.batchSize > 1;
    return ({ handle, sent }) => {
      const shared = mayShare ? this.unitOfBatch() : undefined;
      if (shared) return handleTogether(shared, currentMessage()!.messageId, () => handle(shared.attempt));
      const own = this.ids.current(sent, definition?.name ?? sent.constructor.name);
      if (!own) return this.units.run((unit) => handleIn(unit, handle), { kind: 'write', ...choice });
      return this.units.run((unit) => handleIn(unit, (attempt) => this.ids.once(unit, own, () => handle(attempt))), { kind: 'write', ...choice, repeatUnknown: true });
    };
  }
}

function factsWithId(command: ICommand, context: AsyncContext | undefined): MessageFacts {
  const commandId = commandIdFor(context);
  const facts = factsFor(command);
  return commandId ? { idempotencyKey: idempotencyKeyOf(facts, commandId), ...facts, commandId } : facts;
}

async function handleJob(unit: Unit, handle: HandlerCall['handle']): Promise<unknown> {
  const result = await handle(unit.attempt);
  noteEffect(unit, currentMessage()!.messageId);
  return result;
}
