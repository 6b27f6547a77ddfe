import { Injectable, Logger, Module, type ModuleMetadata, Scope, type Type } from '@nestjs/common';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import { Command, CommandBus, CommandHandler, CqrsModule, EventBus, EventsHandler, Query, QueryBus, QueryHandler } from '@nestjs/cqrs';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { memoryAdapters } from '../../../test/support/memory-adapters.js';
import { ConsistencyChecker } from './consistency/consistency-checker.js';
import { ConsistencyRule } from './consistency/consistency-rule.js';
import { DomainEvent } from './events/domain-event.js';
import { On } from './events/on.js';
import { QueuedCommand } from './jobs/queued-command.js';
import { TandemError } from './kernel/errors.js';
import { Projection } from './read/projection/projection.js';
import { CacheResult } from './read/query-cache/cache-result.js';
import { Reads } from './read/query/reads.js';
import { TandemModule } from './tandem.module.js';
import type { TandemSettings } from './tandem.options.js';
import { UnitOfWork } from './write/command/unit-of-work.decorator.js';
import { DurableSaga } from './write/saga/durable-saga.js';

class Place extends Command<void> {}
class Get extends Query<void> {}
@DomainEvent('order.placed', { version: 1, stream: (e) => ['order', e.id] })
class Placed {
  constructor(readonly id: string) {}
}
@DomainEvent('order.placed', { version: 1, stream: (e) => ['order', e.id] })
class PlacedToo {
  constructor(readonly id: string) {}
}
class Undecorated {}
class OrderView {
  id!: string;
}
@QueuedCommand('mail.send', { queue: 'mail', effect: 'external' })
class SendMail extends Command<void> {}
@QueuedCommand('mail.send', { queue: 'mail', effect: 'sql' })
class SendMailToo extends Command<void> {}

@CommandHandler(Place)
class PlaceHandler {
  execute = () => Promise.resolve();
}
@CommandHandler(Place)
class LegacyHandler {
  execute = () => Promise.resolve();
}
@QueryHandler(Get)
class GetHandler {
  execute = () => Promise.resolve();
}
@QueryHandler(Get)
class GetTooHandler {
  execute = () => Promise.resolve();
}
@QueryHandler(Place)
class PlaceAsQueryHandler {
  execute = () => Promise.resolve();
}
@CommandHandler(Place)
class ForgetfulHandler {}
@CommandHandler(Place)
class ReadingHandler {
  constructor(readonly queries: QueryBus) {}
  execute = () => Promise.resolve();
}
@QueryHandler(Get)
class WritingHandler {
  constructor(readonly commands: CommandBus) {}
  execute = () => Promise.resolve();
}
@QueryHandler(Get)
@CacheResult()
class ForeverCachedHandler {
  execute = () => Promise.resolve();
}
@QueryHandler(Get)
@Reads(OrderView)
class UnwrittenHandler {
  execute = () => Promise.resolve();
}
@CommandHandler(SendMail)
class SendMailHandler {
  execute = () => Promise.resolve();
}
@CommandHandler(SendMailToo)
@UnitOfWork('none')
class SendMailTooHandler {
  execute = () => Promise.resolve();
}
@EventsHandler(PlacedToo)
class PlacedTooHandler {
  handle = () => undefined;
}
@DurableSaga('orders.mail')
class MailSaga {
  @On(Placed)
  placed(_event: Placed): SendMail {
    return new SendMail();
  }
}
@DurableSaga('orders.mail')
class MailSagaToo {
  @On(Placed)
  placed(_event: Placed) {}
}
@DurableSaga('orders.empty')
class EmptySaga {}
@DurableSaga('orders.undecorated')
class UndecoratedSaga {
  @On(Undecorated)
  handle(_event: Undecorated) {}
}
@DurableSaga('orders.scoped')
@Injectable({ scope: Scope.REQUEST })
class ScopedSaga {
  @On(Placed)
  placed(_event: Placed) {}
}
@Projection('orders.view', { entity: OrderView, version: 1 })
class ViewProjection {
  @On(Placed)
  placed(_view: OrderView, _event: Placed) {}
}
@Projection('orders.view-too', { entity: OrderView, version: 1 })
class ViewTooProjection {
  @On(Placed)
  placed(_view: OrderView, _event: Placed) {}
}
abstract class EqualRule extends ConsistencyRule {
  readonly name = 'orders.count';
  write = () => Promise.resolve(1);
  read = () => Promise.resolve(1);
}
class CountRule extends EqualRule {}
class CountTooRule extends EqualRule {}
@Projection('orders.mail', { version: 1 })
class NamedLikeASaga {
  @On(Placed)
  placed(_event: Placed) {}
}

interface Setup {
  readonly orders?: readonly object[];
  readonly legacy?: readonly object[];
  readonly legacyImports?: NonNullable<ModuleMetadata['imports']>;
  readonly settings?: TandemSettings;
}

async function start({ orders = [], legacy = [], legacyImports = [], settings = {} }: Setup) {
  const adapters = memoryAdapters();
  @Module({ providers: [...orders] as Type[] })
  class OrdersModule {}
  @Module({ imports: [...legacyImports], providers: [...legacy] as Type[] })
  class LegacyModule {}
  @Module({ imports: [TandemModule.forRoot({ storage: adapters.storage, jobs: adapters.jobs, ...settings }), OrdersModule, LegacyModule] })
  class Root {}
  const app = await NestFactory.createApplicationContext(Root, { logger: false, abortOnError: false });
  return { app, adapters };
}
async function problemsOf(setup: Setup): Promise<unknown> {
  const failure = await start(setup).then(
    ({ app }) => app.close(),
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(TandemError);
  expect(failure).toMatchObject({ code: 'TANDEM_WIRING' });
  return (failure as TandemError).data['problems'];
}
afterEach(() => void vi.restoreAllMocks());

@Module({})
class VendorModule {}

describe('a feature module that imports TandemModule as it stands', () => {
  it('has the buses of the one with settings, which checks and starts once', async () => {
    const { app, adapters } = await start({ orders: [PlaceHandler], legacyImports: [TandemModule] });
    await app.get(CommandBus).execute(new Place());
    expect(adapters.transports.asked.filter((what) => what === 'verify')).toHaveLength(1);
    expect(adapters.units.history).toEqual(['begin', 'commit']);
    await app.close();
  });
});

describe('wiring mistakes that refuse the start', () => {
  const cases: Record<string, [Setup, string | RegExp]> = {
    'two handlers for one command': [{ orders: [PlaceHandler], legacy: [LegacyHandler] }, 'Place is handled by both PlaceHandler (OrdersModule) and LegacyHandler (LegacyModule)'],
    'two handlers for one query': [{ orders: [GetHandler], legacy: [GetTooHandler] }, 'Get is handled by both GetHandler (OrdersModule) and GetTooHandler (LegacyModule)'],
    'one handler in two modules': [{ orders: [PlaceHandler], legacy: [PlaceHandler] }, 'Place is handled by both PlaceHandler (OrdersModule) and PlaceHandler (LegacyModule)'],
    'one class as a command and a query': [
      { orders: [PlaceHandler], legacy: [PlaceAsQueryHandler] },
      'Place is handled as a command by PlaceHandler (OrdersModule) and as a query by PlaceAsQueryHandler (LegacyModule)',
    ],
    'a handler without its method': [{ orders: [ForgetfulHandler] }, 'ForgetfulHandler (OrdersModule) handles Place but has no method `execute`'],
    'a command handler that injects QueryBus': [{ orders: [ReadingHandler] }, 'ReadingHandler (OrdersModule) handles a command and injects QueryBus: the read side may be behind'],
    'a query handler that injects CommandBus': [{ orders: [WritingHandler] }, 'WritingHandler (OrdersModule) handles a query and injects CommandBus: a query changes nothing'],
    'a second CqrsModule': [
      { legacyImports: [CqrsModule] },
      'LegacyModule imports CqrsModule beside TandemModule: its buses would bypass Tandem (import TandemModule in its place, or nothing: it is global)',
    ],
    'a second CqrsModule that is global': [
      { legacyImports: [CqrsModule.forRoot()] },
      'LegacyModule imports CqrsModule beside TandemModule: its buses would bypass Tandem (import TandemModule in its place, or nothing: it is global)',
    ],
    'a second CqrsModule inside of a dynamic module': [
      { legacyImports: [{ module: VendorModule, imports: [CqrsModule.forRootAsync({ useFactory: () => ({}) })] }] },
      'VendorModule imports CqrsModule beside TandemModule: its buses would bypass Tandem (import TandemModule in its place, or nothing: it is global)',
    ],
    'a second TandemModule with settings': [
      { legacyImports: [TandemModule.forRoot((({ storage, jobs }) => ({ storage, jobs }))(memoryAdapters()))] },
      'Root and LegacyModule import TandemModule with settings of their own, so each would have buses of its own: one of them may (others import TandemModule as it stands)',
    ],
    'an event without @DomainEvent in @On': [{ orders: [UndecoratedSaga] }, 'Undecorated has no @DomainEvent, but UndecoratedSaga (OrdersModule) has a method for it'],
    'one name for two events': [
      { orders: [MailSagaToo], legacy: [PlacedTooHandler] },
      '"order.placed" is the name of both Placed, which MailSagaToo (OrdersModule) handles, and PlacedToo, which PlacedTooHandler (LegacyModule) handles',
    ],
    'one name for two consumers': [
      { orders: [MailSagaToo], legacy: [NamedLikeASaga] },
      '"orders.mail" is the name of both MailSagaToo (OrdersModule) and NamedLikeASaga (LegacyModule)',
    ],
    'a projection in two modules': [
      { orders: [ViewProjection], legacy: [ViewProjection] },
      '"orders.view" is the name of both ViewProjection (OrdersModule) and ViewProjection (LegacyModule)',
    ],
    'two projections on one entity': [{ orders: [ViewProjection], legacy: [ViewTooProjection] }, /OrderView is the entity of .*ViewProjection.* and .*ViewTooProjection/],
    'a consumer without @On': [{ orders: [EmptySaga] }, 'EmptySaga (OrdersModule) has no method with @On or @OnDelta'],
    'a request-scoped consumer': [{ orders: [ScopedSaga] }, 'ScopedSaga (OrdersModule) is request-scoped, but a projection or saga runs without a request'],
    'a queued command without a handler': [{ orders: [MailSaga] }, 'MailSaga (OrdersModule) returns the queued command SendMail from `placed`, which has no handler'],
    'an SQL effect without a unit of work': [
      { orders: [SendMailTooHandler] },
      "SendMailToo is queued with effect 'sql', but SendMailTooHandler (OrdersModule) says @UnitOfWork('none')",
    ],
    'a query that reads what no projection writes': [{ orders: [UnwrittenHandler] }, /^UnwrittenHandler has @Reads\(OrderView\), but no projection writes OrderView/],
    'a cached query that nothing invalidates': [{ orders: [ForeverCachedHandler] }, /^ForeverCachedHandler has @CacheResult without @Reads/],
    'one name for two consistency rules': [
      { orders: [CountRule], legacy: [CountTooRule] },
      '"orders.count" is the name of both consistency rules CountRule (OrdersModule) and CountTooRule (LegacyModule)',
    ],
    'an unknown option': [{ settings: { batchsize: 5 } as TandemSettings }, 'there is no option `batchsize` of TandemModule; the nearest is `batchSize`'],
    'a request-scoped global enhancer that cannot be inherited': [
      {
        settings: { inheritGlobalEnhancers: true },
        orders: [
          {
            provide: APP_GUARD,
            scope: Scope.REQUEST,
            useClass: class SessionGuard {
              canActivate = () => true;
            },
          },
        ],
      },
      /request-scoped and cannot be inherited by `inheritGlobalEnhancers`$/,
    ],
  };
  for (const [mistake, [setup, sentence]] of Object.entries(cases)) {
    it(mistake, async () => {
      expect(await problemsOf(setup)).toEqual([typeof sentence === 'string' ? sentence : expect.stringMatching(sentence)]);
    });
  }

  it('one name for two queued commands, among all other mistakes at once', async () => {
    expect(
      await problemsOf({ orders: [SendMailHandler, SendMailTooHandler, EmptySaga], legacy: [LegacyHandler, PlaceHandler], settings: { batchSize: 0, role: 'server' as never } }),
    ).toEqual([
      'option `batchSize` of TandemModule is 0, expected a whole number from 1',
      "option `role` of TandemModule is 'server', expected one of 'all', 'api', 'worker'",
      'Place is handled by both LegacyHandler (LegacyModule) and PlaceHandler (LegacyModule)',
      'EmptySaga (OrdersModule) has no method with @On or @OnDelta',
      '"mail.send" is the name of both queued commands SendMail and SendMailToo',
      "SendMailToo is queued with effect 'sql', but SendMailTooHandler (OrdersModule) says @UnitOfWork('none')",
    ]);
  });

  it('nothing is registered or started then', async () => {
    const adapters = memoryAdapters();
    @Module({ imports: [TandemModule.forRoot({ storage: adapters.storage, jobs: adapters.jobs })], providers: [EmptySaga, MailSagaToo] })
    class Root {}
    await expect(NestFactory.createApplicationContext(Root, { logger: false, abortOnError: false })).rejects.toThrow('EmptySaga');
    expect(adapters.transports.asked).toEqual([]);
    expect(adapters.consumers.registrations).toEqual([]);
  });
});

describe('wiringErrors: warn', () => {
  it('only tells, and runs what can run', async () => {
    const warned = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const { app, adapters } = await start({
      orders: [PlaceHandler, LegacyHandler, EmptySaga, UndecoratedSaga, MailSagaToo],
      legacy: [NamedLikeASaga],
      settings: { wiringErrors: 'warn', batchSize: -1 },
    });
    const text = warned.mock.calls.map(([line]) => String(line)).find((line) => line.includes('The wiring has'));
    for (const part of ['5 mistakes', 'Place is handled by both', 'EmptySaga', 'Undecorated has no @DomainEvent', '"orders.mail"', '`batchSize`']) expect(text).toContain(part);
    expect(adapters.consumers.registrations.map(({ name }) => name)).toEqual(['orders.mail']);
    await app.close();
  });
});

describe('starting and stopping', () => {
  const setup: Setup = { orders: [MailSagaToo, ViewProjection, SendMailHandler, PlaceHandler, GetHandler] };

  it('checks, registers, starts a worker, and stops it', async () => {
    const { app, adapters } = await start(setup);
    expect(adapters.consumers.registrations).toEqual([
      { name: 'orders.mail', kind: 'saga', types: ['order.placed'], version: 1, startFrom: 'now', entities: [] },
      { name: 'orders.view', kind: 'projection', types: ['order.placed'], version: 1, startFrom: 'beginning', entities: [OrderView] },
    ]);
    expect(adapters.transports.asked).toEqual(['verify', 'listen', 'work on mail']);
    await app.close();
    expect(adapters.transports.asked.slice(3).toSorted()).toEqual(['stop listening', 'stop working']);
  });

  it('finds consistency rules among the providers', async () => {
    const { app } = await start({ orders: [CountRule] });
    expect(app.get(ConsistencyChecker).names).toEqual(['orders.count']);
    await app.close();
  });

  it('takes no work as an api, but registers what its commands fold', async () => {
    const { app, adapters } = await start({ ...setup, settings: { role: 'api' } });
    expect(adapters.consumers.registrations).toHaveLength(2);
    await app.close();
    expect(adapters.transports.asked).toEqual(['verify']);
  });

  it('begins work when handlers are bound, and ends it before they are unbound', async () => {
    const { storage, jobs, transports } = memoryAdapters();
    const seen: string[] = [];
    class Ended {}
    @EventsHandler(Ended)
    class EndedHandler {
      handle = () => void seen.push('event');
    }
    @CommandHandler(Place)
    class SeenHandler {
      execute = async () => void seen.push('command');
    }
    const module = await Test.createTestingModule({
      imports: [TandemModule.forRoot({ storage, jobs, interceptors: [] })],
      providers: [SendMailHandler, SeenHandler, EndedHandler],
    }).compile();
    transports.whenWorking = () => module.get(CommandBus).execute(new Place());
    transports.whenStopping = async () => module.get(EventBus).publish(new Ended());
    await module.init();
    expect(seen).toEqual(['command']);
    await module.close();
    expect(seen).toEqual(['command', 'event']);
  });

  it('has handlers and consumers ready when the application’s own start-up hooks run', async () => {
    const answered: unknown[] = [];
    @CommandHandler(Get)
    class AnswerHandler {
      execute = () => Promise.resolve('answer');
    }
    @Injectable()
    class Seeds {
      constructor(private readonly commands: CommandBus) {}
      async onApplicationBootstrap() {
        answered.push(await this.commands.execute(new Get()));
      }
    }
    const { app } = await start({ orders: [AnswerHandler, Seeds] });
    expect(answered).toEqual(['answer']);
    await app.close();
  });
});
