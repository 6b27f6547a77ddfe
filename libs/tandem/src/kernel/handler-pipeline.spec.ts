import {
  type ArgumentMetadata,
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  Inject,
  Injectable,
  Module,
  type NestInterceptor,
  type PipeTransform,
  Scope,
  SetMetadata,
  type Type,
  UseGuards,
  UseInterceptors,
  UsePipes,
} from '@nestjs/common';
import { APP_GUARD, APP_INTERCEPTOR, APP_PIPE, NestFactory, Reflector, REQUEST } from '@nestjs/core';
import { AsyncContext, Command, CommandBus, CommandHandler, EventBus, EventsHandler, type ICommandHandler, ofType, Query, QueryBus, QueryHandler, Saga } from '@nestjs/cqrs';
import { Test } from '@nestjs/testing';
import { isObservable, lastValueFrom, map, type Observable, of, tap, toArray } from 'rxjs';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { memoryAdapters, TransientError } from '../../../../test/support/memory-adapters.js';
import { TandemModule } from '../tandem.module.js';
import type { TandemSettings } from '../tandem.options.js';
import { TandemCommandBus } from '../write/command/command-bus.js';

const log: string[] = [];
beforeEach(() => void (log.length = 0));

const noting = (name: string): Type<NestInterceptor> => {
  @Injectable()
  class Noting implements NestInterceptor {
    intercept(_context: ExecutionContext, next: CallHandler) {
      log.push(`${name}>`);
      return next.handle().pipe(tap(() => log.push(`<${name}`)));
    }
  }
  return Noting;
};
const OnClass = noting('class');
const OnMethod = noting('method');
const OnAll = noting('all');
const OnHttp = noting('http');

class Numbered {
  constructor(readonly n: number) {}
}
class Place extends Command<string> {
  constructor(readonly n: number) {
    super();
  }
}
class PlaceSpecial extends Place {}
class Get extends Query<string> {}
class Placed extends Numbered {}
class Scoped extends Command<string> {}
class WithScopedInterceptor extends Command<string> {}
class Numbers extends Query<Observable<number>> {}

@Injectable()
class AdminGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}
  canActivate(context: ExecutionContext) {
    const message = context.getArgByIndex<Numbered>(0);
    const role = this.reflector.getAllAndOverride<string>('role', [context.getHandler(), context.getClass()]);
    log.push(`guard ${context.getType()} ${context.getClass().name}.${context.getHandler().name} ${message.constructor.name} role=${role}`);
    return message.n !== 403;
  }
}
@Injectable()
class NotingPipe implements PipeTransform {
  transform(value: object, { metatype }: ArgumentMetadata) {
    log.push(`pipe ${value.constructor.name} metatype=${metatype?.name}`);
    return value;
  }
}

@CommandHandler(Place)
@UseInterceptors(OnClass)
@UseGuards(AdminGuard)
@UsePipes(NotingPipe)
class PlaceHandler implements ICommandHandler<Place> {
  @UseInterceptors(OnMethod)
  @SetMetadata('role', 'admin')
  async execute(command: Place) {
    log.push('handler');
    return `placed ${command.n}`;
  }
}
@QueryHandler(Get)
@UseInterceptors(OnClass)
class GetHandler {
  execute() {
    log.push('handler');
    return Promise.resolve('got');
  }
}
@EventsHandler(Placed)
@UseInterceptors(OnClass)
@UseGuards(AdminGuard)
@UsePipes(NotingPipe)
class PlacedHandler {
  handle(event: Placed) {
    log.push(`event ${event.n}`);
  }
}
@Injectable({ scope: Scope.REQUEST })
class ScopedInterceptor implements NestInterceptor {
  constructor(@Inject(REQUEST) private readonly request: unknown) {}
  intercept(_context: ExecutionContext, next: CallHandler) {
    log.push(`scoped interceptor ${this.request instanceof AsyncContext}`);
    return next.handle();
  }
}
let made = 0;
@CommandHandler(Scoped, { scope: Scope.REQUEST })
@UseInterceptors(OnClass, ScopedInterceptor)
class ScopedHandler {
  readonly id = ++made;
  constructor(@Inject(REQUEST) private readonly request: unknown) {}
  execute(command: Scoped) {
    log.push(`scoped ${this.request === AsyncContext.of(command)}`);
    if (failures-- > 0) throw new TransientError('again');
    return Promise.resolve(String(this.id));
  }
}
let failures = 0;
@CommandHandler(WithScopedInterceptor)
@UseInterceptors(ScopedInterceptor)
class WithScopedInterceptorHandler {
  execute() {
    return Promise.resolve('done');
  }
}
@QueryHandler(Numbers)
class NumbersHandler {
  execute() {
    return Promise.resolve(of(1, 2, 3));
  }
}
@Injectable()
class Sagas {
  @Saga()
  scoped = (events$: Observable<object>) =>
    events$.pipe(
      ofType(Placed),
      map(() => new Scoped()),
    );
}

const providers = [PlaceHandler, GetHandler, PlacedHandler, ScopedHandler, WithScopedInterceptorHandler, NumbersHandler];

function rootModule(settings: TandemSettings = {}, extra: { providers?: object[] } = {}) {
  const adapters = memoryAdapters();
  @Module({
    imports: [TandemModule.forRoot({ storage: adapters.storage, jobs: adapters.jobs, interceptors: [OnAll], ...settings })],
    providers: [...providers, ...((extra.providers ?? []) as Type[])],
  })
  class Root {}
  return { Root, adapters };
}
async function start(settings?: TandemSettings, extra?: { providers?: object[] }) {
  const { Root, adapters } = rootModule(settings, extra);
  const app = await NestFactory.createApplicationContext(Root, { logger: false });
  log.length = 0;
  return { app, adapters, commands: app.get(CommandBus), queries: app.get(QueryBus), events: app.get(EventBus) };
}
const eventually = (line: string) => vi.waitFor(() => expect(log).toContain(line), { timeout: 10_000, interval: 5 });

describe('the way of a command to its handler', () => {
  it('runs guards, interceptors and pipes in declared order, before and after, with metadata that Reflector finds', async () => {
    const { app, commands } = await start();
    expect(commands).toBeInstanceOf(TandemCommandBus);
    expect(await commands.execute(new Place(1))).toBe('placed 1');
    expect(log).toEqual(['guard cqrs PlaceHandler.execute Place role=admin', 'all>', 'class>', 'method>', 'pipe Place metatype=Place', 'handler', '<method', '<class', '<all']);
    await app.close();
  });

  it('stops at a guard that says no', async () => {
    const { app, commands } = await start();
    await expect(commands.execute(new Place(403))).rejects.toThrow('Forbidden');
    expect(log).not.toContain('handler');
    await app.close();
  });

  it('opens the unit of work inside of the interceptors, and none for a refused command', async () => {
    const { app, adapters, commands } = await start();
    await commands.execute(new Place(403)).catch(() => undefined);
    expect(adapters.units.history).toEqual([]);
    vi.spyOn(adapters.units, 'run').mockImplementation(async (work) => {
      log.push('unit>');
      return work({ attempt: 1 } as never);
    });
    await commands.execute(new Place(1));
    expect(log.slice(-6)).toEqual(['pipe Place metatype=Place', 'unit>', 'handler', '<method', '<class', '<all']);
    await app.close();
  });

  it('gives the handler what a pipe made of the message', async () => {
    @Injectable()
    class Doubling implements PipeTransform {
      transform = (value: Numbered) => Object.assign(Object.create(Object.getPrototypeOf(value)), { n: value.n * 2 });
    }
    const { app, commands } = await start({ pipes: [Doubling] });
    expect(await commands.execute(new Place(21))).toBe('placed 42');
    await app.close();
  });

  it('sends a command without a handler of its own to that of the class it extends', async () => {
    const { app, commands } = await start();
    expect(await commands.execute(new PlaceSpecial(7))).toBe('placed 7');
    await app.close();
  });

  it('sees spies that were set before and after the start', async () => {
    const module = await Test.createTestingModule({ imports: [rootModule().Root] }).compile();
    const handler = module.get(PlaceHandler);
    const before = vi.spyOn(handler, 'execute');
    await module.init();
    await module.get(CommandBus).execute(new Place(1));
    expect(before).toHaveBeenCalledTimes(1);
    before.mockRestore();
    vi.spyOn(handler, 'execute').mockResolvedValue('mocked');
    expect(await module.get(CommandBus).execute(new Place(1))).toBe('mocked');
    expect(log).toContain('method>');
    await module.close();
  });
});

describe('the way of a query and of an event', () => {
  it('runs interceptors around a query handler', async () => {
    const { app, queries } = await start();
    expect(await queries.execute(new Get())).toBe('got');
    expect(log).toEqual(['all>', 'class>', 'handler', '<class', '<all']);
    await app.close();
  });

  it('runs guards, interceptors and pipes around an event handler', async () => {
    const { app, events } = await start();
    events.publish(new Placed(3));
    await eventually('<all');
    expect(log).toEqual(['guard cqrs PlacedHandler.handle Placed role=undefined', 'all>', 'class>', 'pipe Placed metatype=Placed', 'event 3', '<class', '<all']);
    await app.close();
  });

  it('gives an Observable back as the result that it is', async () => {
    const { app, queries } = await start();
    const numbers = await queries.execute(new Numbers());
    expect(isObservable(numbers)).toBe(true);
    expect(await lastValueFrom(numbers.pipe(toArray()))).toEqual([1, 2, 3]);
    await app.close();
  });
});

describe('request scope', () => {
  it('makes a handler anew for each message, with the context as its REQUEST', async () => {
    const { app, commands } = await start();
    const first = await commands.execute(new Scoped());
    expect(log).toEqual(['all>', 'class>', 'scoped interceptor true', 'scoped true', '<class', '<all']);
    expect(await commands.execute(new Scoped())).not.toBe(first);
    await app.close();
  });

  it('shares the handler between messages of one context', async () => {
    const { app, commands } = await start();
    const context = new AsyncContext();
    expect(await commands.execute(new Scoped(), context)).toBe(await commands.execute(new Scoped(), context));
    await app.close();
  });

  it('makes a request-scoped interceptor for a static handler', async () => {
    const { app, commands } = await start();
    expect(await commands.execute(new WithScopedInterceptor())).toBe('done');
    expect(log).toEqual(['all>', 'scoped interceptor true', '<all']);
    await app.close();
  });

  it('makes a handler anew when its unit of work is repeated', async () => {
    const { app, adapters, commands } = await start();
    const before = made;
    failures = 2;
    expect(Number(await commands.execute(new Scoped()))).toBe(before + 3);
    expect(adapters.units.history).toEqual(['begin', 'rollback', 'begin', 'rollback', 'begin', 'commit']);
    expect(log.filter((line) => line === 'class>')).toHaveLength(1);
    await app.close();
  });

  it('serves commands of an in-memory saga', async () => {
    const { app, events } = await start({}, { providers: [Sagas] });
    events.publish(new Placed(1));
    await eventually('scoped true');
    await app.close();
  });
});

describe('enhancers of the application', () => {
  @Injectable()
  class HttpGuard implements CanActivate {
    canActivate(context: ExecutionContext) {
      return context.switchToHttp().getRequest<{ headers: object }>().headers !== undefined;
    }
  }
  @Injectable()
  class HttpPipe implements PipeTransform {
    transform(value: unknown) {
      log.push('http pipe');
      return value;
    }
  }

  it('leaves APP_GUARD, APP_INTERCEPTOR and APP_PIPE out', async () => {
    const global = [
      { provide: APP_GUARD, useClass: HttpGuard },
      { provide: APP_INTERCEPTOR, useClass: OnHttp },
      { provide: APP_PIPE, useClass: HttpPipe },
    ];
    const { app, commands } = await start({}, { providers: global });
    expect(await commands.execute(new Place(1))).toBe('placed 1');
    expect(log).not.toContain('http>');
    expect(log).not.toContain('http pipe');
    await app.close();
  });

  it('inherits them outside of its own when asked', async () => {
    const global = [
      { provide: APP_GUARD, useClass: AdminGuard },
      { provide: APP_INTERCEPTOR, useClass: OnHttp },
      { provide: APP_PIPE, useClass: HttpPipe },
    ];
    const { app, queries } = await start({ inheritGlobalEnhancers: true }, { providers: global });
    expect(await queries.execute(new Get())).toBe('got');
    expect(log.slice(1)).toEqual(['http>', 'all>', 'class>', 'http pipe', 'handler', '<class', '<all', '<http']);
    await app.close();
  });

  it('keeps two applications in a process apart', async () => {
    const a = await start();
    const b = await start();
    await Promise.all([a.commands.execute(new Place(1)), b.commands.execute(new Place(2))]);
    expect(log.filter((line) => line === 'all>')).toHaveLength(2);
    await a.app.close();
    log.length = 0;
    expect(await b.commands.execute(new Place(3))).toBe('placed 3');
    expect(log.filter((line) => line === 'class>')).toHaveLength(1);
    await b.app.close();
  });
});

describe('overrides in a testing module', () => {
  it('takes another handler, interceptor, guard or bus', async () => {
    @CommandHandler(Place)
    class OtherHandler {
      execute() {
        return Promise.resolve('other');
      }
    }
    let module = await Test.createTestingModule({ imports: [rootModule().Root] })
      .overrideProvider(PlaceHandler)
      .useClass(OtherHandler)
      .compile();
    await module.init();
    expect(await module.get(CommandBus).execute(new Place(1))).toBe('other');
    await module.close();

    module = await Test.createTestingModule({ imports: [rootModule().Root] })
      .overrideInterceptor(OnClass)
      .useValue({ intercept: (_context: unknown, next: CallHandler) => (log.push('other interceptor'), next.handle()) })
      .overrideGuard(AdminGuard)
      .useValue({ canActivate: () => true })
      .compile();
    await module.init();
    log.length = 0;
    await module.get(CommandBus).execute(new Place(403));
    expect(log).toEqual(['all>', 'other interceptor', 'method>', 'pipe Place metatype=Place', 'handler', '<method', '<all']);
    await module.close();

    module = await Test.createTestingModule({ imports: [rootModule().Root] })
      .overrideProvider(CommandBus)
      .useValue({ execute: () => Promise.resolve('fake bus'), register: () => undefined })
      .compile();
    await module.init();
    expect(await module.get(CommandBus).execute(new Place(1))).toBe('fake bus');
    await module.close();
  });
});
