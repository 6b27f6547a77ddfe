import { Inject, Injectable, type Type } from '@nestjs/common';
import { type AsyncContext, EventBus, type IEvent, UnhandledExceptionBus } from '@nestjs/cqrs';
import { TandemError } from '../kernel/errors.js';
import { handlerClassOf, HandlerPipeline } from '../kernel/handler-pipeline.js';
import { nextMessage, runWithMessage } from '../kernel/message-context.js';
import { UnitOfWork } from '../kernel/unit-of-work.js';
import { ConsumerRegistry } from './consumer-registry.js';
import { domainEventOf, isDomainEvent } from './domain-event.js';
import { EventCapture } from './event-capture.js';

type HandlerWrapper = Parameters<EventBus['bind']>[0];

/**
 * The EventBus of @nestjs/cqrs, durable: a domain event goes onto the log with the unit of work that published it, and to
 * in-process handlers and sagas after COMMIT. Other events go to them at once, as ever, and outside of the unit of work, which nobody
 * would hold open for them. A handler that fails is reported to the UnhandledExceptionBus and undoes nothing.
 */
@Injectable()
export class TandemEventBus extends EventBus {
  @Inject(HandlerPipeline) private readonly pipeline!: HandlerPipeline;
  @Inject(EventCapture) private readonly capture!: EventCapture;
  @Inject(UnitOfWork) private readonly units!: UnitOfWork;
  @Inject(UnhandledExceptionBus) private readonly unhandled!: UnhandledExceptionBus;
  @Inject(ConsumerRegistry) private readonly registry!: ConsumerRegistry;
  /** Stored name → the class that was first published under it. */
  private readonly published = new Map<string, Type<object>>();

  /** Outside of a unit of work a domain event gets one of its own: the promise resolves after its COMMIT. */
  override publish<E extends IEvent>(event: E, dispatcherOrContext?: unknown, context?: AsyncContext): unknown {
    if (!isDomainEvent(event)) return this.units.outside(() => super.publish(event, dispatcherOrContext, context as AsyncContext) as unknown);
    return this.take([event], ([captured]) => super.publish(captured as E, dispatcherOrContext, context as AsyncContext));
  }

  /** As `publish`, all of them in one unit of work. */
  override publishAll<E extends IEvent>(events: readonly E[], dispatcherOrContext?: unknown, context?: AsyncContext): unknown {
    // Copied first: AggregateRoot.commit() empties the list that it passes.
    const durable = (events ?? []).filter(isDomainEvent);
    const passing = (events ?? []).filter((event) => !isDomainEvent(event));
    const passed =
      passing.length > 0 || durable.length === 0 ? this.units.outside(() => super.publishAll(passing, dispatcherOrContext, context as AsyncContext) as unknown) : undefined;
    if (durable.length === 0) return passed;
    return this.take(durable, (captured) => super.publishAll(captured as E[], dispatcherOrContext, context as AsyncContext)) ?? passed;
  }

  override bind(handler: HandlerWrapper, id: string): void {
    const run = this.pipeline.bind(handler as never, 'handle');
    const handle = (event: object) => runWithMessage(nextMessage(), () => run(event));
    // @nestjs/cqrs calls `instance.handle` and names `constructor` in its error log; nothing else of the wrapper.
    const facade = { constructor: handlerClassOf(handler as never), isDependencyTreeStatic: () => true, instance: { handle } };
    super.bind(facade as unknown as HandlerWrapper, id);
  }

  private take(events: object[], handOver: (events: object[]) => unknown): Promise<void> | undefined {
    for (const event of events) this.refuseSharedName(event.constructor as Type<object>);
    const taken = this.capture.take(events, (captured) => this.report(events, () => handOver(captured)));
    // Nobody has to await `publish`, and `commit()` cannot be awaited at all.
    taken?.catch((exception: unknown) => this.unhandled.publish({ cause: events[0] as IEvent, exception }));
    return taken;
  }

  /** What is read back from the log would be of the other class. A class that is only published is not known before. */
  private refuseSharedName(eventClass: Type<object>): void {
    const { name } = domainEventOf(eventClass)!;
    const handled = this.registry.eventClassOf(name);
    const first = handled ?? this.published.get(name);
    if (!first) this.published.set(name, eventClass);
    if (!first || first === eventClass) return;
    const how = handled ? 'a projection or saga handles' : 'was published before';
    throw new TandemError('TANDEM_WIRING', `"${name}" is the name of both ${first.name}, which ${how}, and ${eventClass.name}, which was published now`, {
      next: 'Give one of them another name: what is stored under a name is read back as one class.',
    });
  }

  /** A publisher of the application's own may throw or reject. */
  private report(events: object[], work: () => unknown): void {
    const failed = (exception: unknown) => void this.unhandled.publish({ cause: events[0] as IEvent, exception });
    try {
      void Promise.resolve(work()).catch(failed);
    } catch (exception) {
      failed(exception);
    }
  }
}
