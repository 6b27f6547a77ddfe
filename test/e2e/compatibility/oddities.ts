/** Handlers for what an application seldom does, and may rely on all the same. */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type BeforeApplicationShutdown,
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type Provider,
  UseInterceptors,
} from '@nestjs/common';
import { Command, CommandBus, CommandHandler, EventBus, EventsHandler, Query, QueryBus, QueryHandler } from '@nestjs/cqrs';
import { type Observable } from 'rxjs';
import { Journal } from './journal.js';

/** Of the application's own: what it carries from the caller. */
export const traces = new AsyncLocalStorage<string>();

export class Throw extends Command<void> {
  constructor(readonly what: unknown) {
    super();
  }
}
export class Caught extends Command<string> {}
export class AnswerAtOnce extends Command<string> {
  begun = false;
}
/** Does `inner` inside of a handler. */
export class Inside extends Command<unknown> {
  constructor(readonly inner: (buses: { readonly commands: CommandBus; readonly events: EventBus; readonly queries: QueryBus }) => unknown) {
    super();
  }
}
export class Watched extends Command<string> {}
export class Noted {
  handled = false;
  constructor(readonly name: string) {}
}
export class TheSame extends Query<object> {
  static readonly answer = { very: 'same' };
}
export class Unhandled extends Command<void> {}
export class UnhandledQuery extends Query<void> {}
/** Only a handler that no module provides names it. */
export class Withheld extends AnswerAtOnce {}
export class ByFactory extends Command<string> {}

@Injectable()
class Reader {
  constructor(readonly queries: QueryBus) {}
}
@CommandHandler(Throw)
class ThrowHandler {
  async execute({ what }: Throw) {
    // oxlint-disable-next-line typescript/only-throw-error -- applications throw what they like
    throw what;
  }
}
@CommandHandler(Caught)
class CaughtHandler {
  constructor(private readonly commands: CommandBus) {}
  execute() {
    return this.commands.execute(new Throw('caught inside')).then(
      () => 'not thrown',
      (error: unknown) => error,
    );
  }
}
@CommandHandler(AnswerAtOnce)
class AnswerAtOnceHandler {
  execute(command: AnswerAtOnce) {
    command.begun = true;
    return 'at once';
  }
}
@CommandHandler(Inside)
class InsideHandler {
  // Not QueryBus, which a command handler may not inject itself.
  constructor(
    private readonly commands: CommandBus,
    private readonly events: EventBus,
    private readonly reader: Reader,
  ) {}
  async execute({ inner }: Inside) {
    return inner({ commands: this.commands, events: this.events, queries: this.reader.queries });
  }
}
@Injectable()
class Watching implements NestInterceptor {
  constructor(private readonly journal: Journal) {}
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    this.journal.note('watched');
    return next.handle();
  }
}
@CommandHandler(Watched)
@UseInterceptors(Watching)
class WatchedHandler {
  async execute() {
    return 'watched';
  }
}
@EventsHandler(Noted)
class NotedHandler {
  constructor(private readonly journal: Journal) {}
  handle(event: Noted) {
    event.handled = true;
    this.journal.note(`noted ${event.name}, trace ${traces.getStore()}`);
  }
}
@QueryHandler(TheSame)
class TheSameHandler {
  async execute() {
    return TheSame.answer;
  }
}
@CommandHandler(Withheld)
export class WithheldHandler {
  async execute() {
    return 'withheld';
  }
}
@CommandHandler(ByFactory)
class ByFactoryHandler {
  constructor(private readonly answer: string) {}
  async execute() {
    return this.answer;
  }
}

/** Sends a command at each step of the end. */
@Injectable()
export class Endings implements OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown {
  readonly answers: unknown[] = [];
  constructor(private readonly commands: CommandBus) {}
  onModuleDestroy = () => this.send();
  beforeApplicationShutdown = () => this.send();
  onApplicationShutdown = () => this.send();
  private async send(): Promise<void> {
    this.answers.push(await outcome(this.commands.execute(new AnswerAtOnce())));
  }
}

/** What the promise came to. */
export const outcome = (promise: unknown): Promise<unknown> =>
  Promise.resolve(promise).then(
    (value) => value ?? 'done',
    (error: { readonly code?: string; readonly name?: string } | undefined) => error?.code ?? error?.name ?? error,
  );

export const oddities: Provider[] = [
  ThrowHandler,
  CaughtHandler,
  AnswerAtOnceHandler,
  InsideHandler,
  Reader,
  WatchedHandler,
  NotedHandler,
  TheSameHandler,
  { provide: 'BY_FACTORY', inject: [], useFactory: () => new ByFactoryHandler('made by a factory') },
];
