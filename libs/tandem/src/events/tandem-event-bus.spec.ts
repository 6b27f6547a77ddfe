import { AsyncLocalStorage } from 'node:async_hooks';
import { Injectable, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  AggregateRoot,
  AsyncContext,
  Command,
  CommandBus,
  CommandHandler,
  EventBus,
  EventPublisher,
  EventsHandler,
  type IEvent,
  ofType,
  Saga,
  UnhandledExceptionBus,
} from '@nestjs/cqrs';
import { delay, map, mergeMap, type Observable } from 'rxjs';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { memoryAdapters, MemoryEventLog, MemoryUnitOfWork, TransientError } from '../../../../test/support/memory-adapters.js';
import { currentMessage } from '../kernel/message-context.js';
import { type CommitStep, currentUnit, UnitOfWork as UnitOfWorkRunner } from '../kernel/unit-of-work.js';
import { TandemModule } from '../tandem.module.js';
import type { TandemSettings } from '../tandem.options.js';
import { DurableSaga } from '../write/saga/durable-saga.js';
import { DomainEvent } from './domain-event.js';
import { EventCapture } from './event-capture.js';
import { On } from './on.js';

const log: string[] = [];
let failures = 0;
beforeEach(() => {
  log.length = 0;
  failures = 0;
});

@DomainEvent('order.placed', { version: 1, stream: (e) => ['order', e.id] })
class Placed {
  constructor(public id: string) {}
}
@DomainEvent('order.paid', { version: 1, stream: (e) => ['order', e.id] })
class Paid {
  constructor(readonly id: string) {}
}
@DomainEvent('order.placed', { version: 1, stream: (e) => ['order', e.id] })
class PlacedToo {
  constructor(readonly id: string) {}
}
class PlacedAbroad extends Placed {}
class Plain {
  constructor(readonly id: string) {}
}
class Order extends AggregateRoot {
  constructor(readonly id: string) {
    super();
  }
  place() {
    this.apply(new Placed(this.id));
    this.apply(new Paid(this.id));
  }
}
type How = 'object' | 'class' | 'autocommit' | 'publish' | 'mixed' | 'plain' | 'context' | 'changed-later';
class Do extends Command<void> {
  constructor(
    readonly how: How,
    readonly fail = false,
  ) {
    super();
  }
}
class Follow extends Command<void> {
  constructor(readonly id: string) {
    super();
  }
}

@CommandHandler(Do)
class DoHandler {
  constructor(
    private readonly publisher: EventPublisher,
    private readonly bus: EventBus,
  ) {}
  async execute({ how, fail }: Do) {
    this.publish(how);
    log.push('end of handler');
    if (failures-- > 0) throw new TransientError('deadlock');
    if (fail) throw new Error('handler failed');
  }

  private publish(how: How): void {
    const event = new Placed(how);
    switch (how) {
      case 'object': {
        const order = this.publisher.mergeObjectContext(new Order(how));
        order.place();
        order.commit();
        expect(order.getUncommittedEvents()).toEqual([]);
        return;
      }
      case 'class': {
        const order = new (this.publisher.mergeClassContext(Order))(how);
        order.place();
        return order.commit();
      }
      case 'autocommit': {
        const order = this.publisher.mergeObjectContext(new Order(how));
        order.autoCommit = true;
        return order.place();
      }
      case 'publish':
        expect(this.bus.publish(event)).toBeUndefined();
        return;
      case 'mixed':
        return void this.bus.publishAll([event, new Plain(how)]);
      case 'plain':
        void this.bus.publish(new Plain('first'));
        return void this.bus.publishAll([new Plain('second')]);
      case 'context':
        return void this.bus.publish(event, { dispatcher: true }, new AsyncContext());
      case 'changed-later':
        void this.bus.publish(event);
        event.id = 'changed';
    }
  }
}
@CommandHandler(Follow)
class FollowHandler {
  async execute({ id }: Follow) {
    log.push(`follow ${id}`);
  }
}
@EventsHandler(Placed, Plain)
class Seen {
  async handle(event: Placed | Plain) {
    log.push(`seen ${event.constructor.name}, unit ${currentUnit()?.kind}`);
  }
}
@EventsHandler(Paid)
class Failing {
  handle() {
    throw new Error('event handler failed');
  }
}
@Injectable()
class Sagas {
  @Saga()
  plain = (events$: Observable<object>) =>
    events$.pipe(
      ofType(Plain),
      map(({ id }) => new Follow(id)),
    );
  @Saga()
  durable = (events$: Observable<object>) =>
    events$.pipe(
      ofType(Placed),
      delay(1),
      mergeMap(async ({ id }) => new Follow(`${id} later`)),
    );
}

@DurableSaga('spec.orders')
class OrderSaga {
  @On(Placed)
  placed(_event: Placed): undefined {}
}

async function start(settings: TandemSettings = {}, providers: Type[] = []) {
  const adapters = memoryAdapters();
  @Module({
    imports: [TandemModule.forRoot({ storage: adapters.storage, jobs: adapters.jobs, interceptors: [], ...settings })],
    providers: [DoHandler, FollowHandler, Seen, Failing, Sagas, ...providers],
  })
  class Root {}
  const app = await NestFactory.createApplicationContext(Root, { logger: false });
  const unhandled: string[] = [];
  app.get(UnhandledExceptionBus).subscribe(({ exception }) => unhandled.push((exception as Error).message));
  return { app, adapters, unhandled, commands: app.get(CommandBus), events: app.get(EventBus) };
}
const stored = ({ log: events }: { log: { events: readonly { type: string; stream: string; version: number }[] } }) =>
  events.events.map(({ type, stream, version }) => `${type} ${stream} ${version}`);
const eventually = (check: () => void) => vi.waitFor(check, { timeout: 10_000, interval: 5 });

describe('domain events of a command', () => {
  for (const how of ['object', 'class', 'autocommit', 'publish', 'context'] as const) {
    it(`go onto the log with its unit of work and to in-process handlers after COMMIT (${how})`, async () => {
      const { app, adapters, commands } = await start();
      await commands.execute(new Do(how));
      await eventually(() => expect(log.slice(0, 2)).toEqual(['end of handler', 'seen Placed, unit undefined']));
      const paid = how === 'publish' || how === 'context' ? [] : [`order.paid order-${how} 2`];
      expect(stored(adapters)).toEqual([`order.placed order-${how} 1`, ...paid]);
      await app.close();
    });
  }

  it('vanish with a handler that fails', async () => {
    const { app, adapters, commands } = await start();
    await expect(commands.execute(new Do('object', true))).rejects.toThrow('handler failed');
    expect(stored(adapters)).toEqual([]);
    await commands.execute(new Do('publish'));
    await eventually(() => expect(log).toContain('follow publish later'));
    expect(log.filter((line) => line.startsWith('seen'))).toHaveLength(1);
    await app.close();
  });

  it('are appended once when the handler is repeated', async () => {
    const { app, adapters, commands } = await start();
    failures = 2;
    await commands.execute(new Do('publish'));
    expect(stored(adapters)).toEqual(['order.placed order-publish 1']);
    await app.close();
  });

  it('are refused when they come after the command', async () => {
    const { app, adapters, commands, events } = await start();
    let ended!: () => void;
    const end = new Promise<void>((resolve) => (ended = resolve));
    let late!: Promise<unknown>;
    vi.spyOn(app.get(DoHandler), 'execute').mockImplementation(async () => void (late = end.then(() => events.publish(new Placed('late')))));
    await commands.execute(new Do('publish'));
    ended();
    await expect(late).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_CLOSED' });
    expect(stored(adapters)).toEqual([]);
    await app.close();
  });

  it.each([0, 1])('are refused when they come after the append, which had %i events', async (before) => {
    const publish = (id: string) => capture.take([new Placed(id)], () => undefined);
    const units = new (class extends MemoryUnitOfWork {
      override lastBeforeCommit(step: CommitStep): void {
        super.lastBeforeCommit(async (unit) => {
          await step(unit);
          await publish('late');
        });
      }
    })();
    const capture = new EventCapture(units, new MemoryEventLog());
    const run = units.run(async () => void (before && publish('early')));
    await expect(run).rejects.toMatchObject({ code: 'TANDEM_EVENT_OUTSIDE_COMMAND' });
  });

  it('are stored as they were when they were published', async () => {
    const { app, adapters, commands } = await start();
    await commands.execute(new Do('changed-later'));
    expect(adapters.log.events[0]).toMatchObject({ stream: 'order-changed-later', payload: '{"id":"changed-later"}' });
    await app.close();
  });

  it('wait for COMMIT together with other events, in the order in which they were published', async () => {
    const { app, commands, adapters } = await start();
    await commands.execute(new Do('mixed'));
    await eventually(() => expect(log).toContain('follow mixed later'));
    expect(log.filter((line) => line !== 'follow mixed')).toEqual(['end of handler', 'seen Placed, unit undefined', 'seen Plain, unit undefined', 'follow mixed later']);
    expect(log).toContain('follow mixed');
    expect(stored(adapters)).toEqual(['order.placed order-mixed 1']);
    await app.close();
  });

  it('leave the command as it is when an in-process handler fails', async () => {
    const { app, adapters, commands, unhandled } = await start();
    await commands.execute(new Do('object'));
    await eventually(() => expect(unhandled).toEqual(['event handler failed']));
    expect(stored(adapters)).toHaveLength(2);
    await app.close();
  });

  it('reach a publisher of the application after COMMIT, whose failure is reported', async () => {
    const got: string[] = [];
    const publisher = {
      publish: (event: IEvent, dispatcher?: unknown) => got.push(`${event.constructor.name} ${JSON.stringify(dispatcher)}`),
      publishAll: () => Promise.reject(new Error('publisher failed')),
    };
    const { app, adapters, commands, unhandled } = await start({ cqrs: { eventPublisher: publisher } });
    await commands.execute(new Do('context'));
    expect(got).toEqual(['Placed {"dispatcher":true}']);
    await commands.execute(new Do('object'));
    await eventually(() => expect(unhandled).toEqual(['publisher failed']));
    expect(stored(adapters)).toHaveLength(3);
    await app.close();
  });
});

describe('events without a place in the log', () => {
  it('reach handlers and sagas after COMMIT, once, when their command is repeated', async () => {
    const { app, adapters, commands } = await start();
    failures = 2;
    await commands.execute(new Do('plain'));
    await eventually(() => expect(log).toContain('follow second'));
    expect(log.filter((line) => line !== 'end of handler').toSorted()).toEqual(['follow first', 'follow second', 'seen Plain, unit undefined', 'seen Plain, unit undefined']);
    expect(log.lastIndexOf('end of handler')).toBeLessThan(log.findIndex((line) => line.startsWith('seen')));
    expect(stored(adapters)).toEqual([]);
    await app.close();
  });

  it('vanish with a handler that fails', async () => {
    const { app, commands, events } = await start();
    await expect(commands.execute(new Do('plain', true))).rejects.toThrow('handler failed');
    void events.publish(new Plain('marker'));
    await eventually(() => expect(log).toContain('follow marker'));
    expect(log.filter((line) => line.startsWith('seen'))).toHaveLength(1);
    await app.close();
  });

  it('go to their handlers at once where no unit of work is open, also after one', async () => {
    const { app, commands, events } = await start();
    void events.publish(new Plain('a'));
    expect(log).toEqual(['seen Plain, unit undefined', 'follow a']);
    let ended!: () => void;
    const end = new Promise<void>((resolve) => (ended = resolve));
    let late!: Promise<void>;
    vi.spyOn(app.get(DoHandler), 'execute').mockImplementation(
      async () =>
        void (late = end.then(() => {
          log.length = 0;
          void events.publish(new Plain('late'));
          log.push('published');
        })),
    );
    await commands.execute(new Do('publish'));
    ended();
    await late;
    expect(log).toEqual(['seen Plain, unit undefined', 'follow late', 'published']);
    await app.close();
  });

  it('meet their handlers in the asynchronous context in which they were published', async () => {
    const store = new AsyncLocalStorage<string>();
    const { app, commands, events } = await start();
    const seen: unknown[] = [];
    vi.spyOn(app.get(Seen), 'handle').mockImplementation(async () => void seen.push(store.getStore()));
    vi.spyOn(app.get(DoHandler), 'execute').mockImplementation(async () =>
      store.run('handler', () => {
        void events.publish(new Plain('a'));
        void events.publish(new Placed('a'));
      }),
    );
    await store.run('caller', () => commands.execute(new Do('publish')));
    await eventually(() => expect(seen).toEqual(['handler', 'handler']));
    await app.close();
  });

  it('answer as their publisher would: a list from one that takes them one by one', async () => {
    const { app, commands, events } = await start();
    let answers: unknown[] = [];
    vi.spyOn(app.get(DoHandler), 'execute').mockImplementation(async () => {
      answers = (await Promise.all([events.publish(new Plain('a')), Promise.all(events.publishAll([new Plain('b'), new Plain('c')]) as unknown[])])) as unknown[];
    });
    await commands.execute(new Do('publish'));
    expect(answers).toEqual([undefined, [undefined, undefined]]);
    await app.close();
  });
});

describe('domain events outside of a command', () => {
  it('get a unit of work of their own', async () => {
    const { app, adapters, events } = await start();
    await events.publishAll([new Placed('a'), new Paid('a')]);
    expect(stored(adapters)).toEqual(['order.placed order-a 1', 'order.paid order-a 2']);
    expect(adapters.units.history).toEqual(['begin', 'commit']);
    await eventually(() => expect(log).toContain('seen Placed, unit undefined'));
    await app.close();
  });

  it('fail for who awaits them, and are reported for who cannot', async () => {
    const { app, adapters, events, unhandled } = await start();
    vi.spyOn(adapters.log, 'append').mockRejectedValue(new Error('database away'));
    await expect(events.publish(new Placed('a'))).rejects.toThrow('database away');
    void events.publish(new Placed('a'));
    await eventually(() => expect(unhandled).toEqual(['database away', 'database away']));
    await app.close();
  });

  it('are refused when only the class that theirs extends has a @DomainEvent', async () => {
    const { app, adapters, events } = await start();
    const refused = expect.objectContaining({
      code: 'TANDEM_WIRING',
      message: expect.stringContaining('PlacedAbroad extends the domain event Placed but has no @DomainEvent') as string,
    }) as Error;
    expect(() => events.publish(new PlacedAbroad('a'))).toThrow(refused);
    expect(() => events.publishAll([new Plain('a'), new PlacedAbroad('a')])).toThrow(refused);
    expect([stored(adapters), log]).toEqual([[], []]);
    await app.close();
  });

  it('are refused when a consumer reads another class under their name, or another was published', async () => {
    const refused = (how: string) =>
      expect.objectContaining({ code: 'TANDEM_WIRING', message: expect.stringContaining(`"order.placed" is the name of both ${how}, which was published now`) as string }) as Error;
    const read = await start({}, [OrderSaga]);
    expect(() => read.events.publish(new PlacedToo('a'))).toThrow(refused('Placed, which a projection or saga handles, and PlacedToo'));
    await read.events.publish(new Placed('a'));
    expect(stored(read.adapters)).toEqual(['order.placed order-a 1']);
    await read.app.close();

    const unread = await start();
    await unread.events.publish(new PlacedToo('a'));
    expect(() => unread.events.publishAll([new PlacedToo('b'), new Placed('b')])).toThrow(refused('PlacedToo, which was published before, and Placed'));
    expect(stored(unread.adapters)).toEqual(['order.placed order-a 1']);
    await unread.app.close();
  });

  it('are refused inside a projection or a query', async () => {
    const { app, events } = await start();
    for (const kind of ['consumer', 'snapshot'] as const) {
      await expect(app.get(UnitOfWorkRunner).run(async () => events.publish(new Placed('a')), { kind })).rejects.toMatchObject({ code: 'TANDEM_EVENT_OUTSIDE_COMMAND' });
    }
    await app.close();
  });
});

describe('an in-process handler', () => {
  it('runs as a message of its own, caused by the command', async () => {
    const facts: unknown[] = [];
    const { app, commands } = await start();
    vi.spyOn(app.get(Seen), 'handle').mockImplementation(async () => void facts.push(currentMessage()));
    const original = vi.spyOn(app.get(DoHandler), 'execute');
    let command: unknown;
    original.mockImplementation(async () => {
      command = currentMessage()?.messageId;
      void app.get(EventBus).publish(new Placed('a'));
    });
    await commands.execute(new Do('publish'));
    await eventually(() => expect(facts).toHaveLength(1));
    expect(facts[0]).toMatchObject({ causationId: command, correlationId: command });
    await app.close();
  });
});
