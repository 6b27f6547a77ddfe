import { Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandBus, CommandHandler, CommandHandlerNotFoundException, Query, QueryBus, QueryHandler, QueryHandlerNotFoundException } from '@nestjs/cqrs';
import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAdapters, TransientError } from '../../../../../test/support/memory-adapters.js';
import { QueuedCommand } from '../../jobs/queued-command.js';
import { OptimisticConcurrencyError, TandemError } from '../../kernel/errors.js';
import { HandlerNotFound } from '../../kernel/handler-not-found.js';
import { currentMessage, type MessageFacts, runWithMessage } from '../../kernel/message-context.js';
import { newId } from '../../kernel/new-id.js';
import { prepareMessage } from '../../kernel/prepared-message.js';
import { currentUnit } from '../../kernel/unit-of-work.js';
import { TandemModule } from '../../tandem.module.js';
import type { TandemSettings } from '../../tandem.options.js';
import { UnitOfWork } from './unit-of-work.decorator.js';

const seen: { unit?: string; facts?: MessageFacts; runs: number }[] = [];
let failures = 0;
beforeEach(() => {
  seen.length = 0;
  failures = 0;
});
function look() {
  seen.push({ unit: currentUnit()?.kind, facts: currentMessage(), runs: seen.length });
  if (failures-- > 0) throw new TransientError('deadlock');
}

class Plain extends Command<string> {}
class Unprotected extends Command<void> {}
class Asked extends Command<void> {}
class Outer extends Command<void> {}
class PlaceOrder extends Command<void> {}
class CancelOrder extends Command<void> {}
class Look extends Query<string> {}
@QueuedCommand('mail.send', { queue: 'mail', effect: 'external' })
class SendMail extends Command<void> {}
@QueuedCommand('stock.book', { queue: 'stock', effect: 'sql' })
class BookStock extends Command<void> {}

@CommandHandler(Plain)
class PlainHandler {
  execute() {
    look();
    return Promise.resolve('done');
  }
}
@CommandHandler(Unprotected)
@UnitOfWork('none')
class UnprotectedHandler {
  async execute() {
    look();
  }
}
@CommandHandler(Asked)
@UnitOfWork({ tries: 2 })
class AskedHandler {
  async execute() {
    look();
  }
}
@CommandHandler(SendMail)
class SendMailHandler {
  async execute() {
    look();
  }
}
@CommandHandler(BookStock)
class BookStockHandler {
  async execute() {
    look();
  }
}
@CommandHandler(Outer)
class OuterHandler {
  constructor(private readonly commands: CommandBus) {}
  async execute() {
    look();
    await this.commands.execute(new Plain());
  }
}
@CommandHandler(PlaceOrder)
class PlaceOrderHandler {
  execute = () => Promise.resolve();
}
@QueryHandler(Look)
class LookHandler {
  execute() {
    look();
    return Promise.resolve('seen');
  }
}

async function start(
  settings: TandemSettings = {},
  providers: Type[] = [PlainHandler, UnprotectedHandler, AskedHandler, SendMailHandler, BookStockHandler, OuterHandler, PlaceOrderHandler, LookHandler],
) {
  const adapters = memoryAdapters();
  @Module({ imports: [TandemModule.forRoot({ storage: adapters.storage, jobs: adapters.jobs, interceptors: [], ...settings })], providers })
  class Root {}
  const app = await NestFactory.createApplicationContext(Root, { logger: false });
  return { app, adapters, commands: app.get(CommandBus), queries: app.get(QueryBus) };
}

describe('the unit of work of a command', () => {
  it('surrounds every handler by default, except those that say none and external effects', async () => {
    const { app, commands } = await start();
    for (const command of [new Plain(), new Unprotected(), new Asked(), new SendMail(), new BookStock()]) await commands.execute(command);
    expect(seen.map(({ unit }) => unit)).toEqual(['write', undefined, 'write', undefined, 'write']);
    await app.close();
  });

  it('surrounds, when it is opt-in, only handlers that ask and jobs with an SQL effect', async () => {
    const { app, commands } = await start({ unitOfWork: 'opt-in' });
    for (const command of [new Plain(), new Unprotected(), new Asked(), new SendMail(), new BookStock()]) await commands.execute(command);
    expect(seen.map(({ unit }) => unit)).toEqual([undefined, undefined, 'write', undefined, 'write']);
    await app.close();
  });

  it('repeats the handler as often as it may, and throws its error after that', async () => {
    const { app, adapters, commands } = await start();
    failures = 4;
    expect(await commands.execute(new Plain())).toBe('done');
    expect(seen).toHaveLength(5);
    failures = 2;
    await expect(commands.execute(new Asked())).rejects.toThrow('deadlock');
    expect(adapters.units.history.slice(-4)).toEqual(['begin', 'rollback', 'begin', 'rollback']);
    failures = 1;
    await expect(commands.execute(new Unprotected())).rejects.toThrow('deadlock');
    await app.close();
  });

  it('is joined by a command inside of a command', async () => {
    const { app, adapters, commands } = await start();
    await commands.execute(new Outer());
    expect(adapters.units.history).toEqual(['begin', 'commit']);
    await app.close();
  });

  it('is a read-only snapshot for a query', async () => {
    const { app, queries } = await start();
    expect(await queries.execute(new Look())).toBe('seen');
    expect(seen[0]?.unit).toBe('snapshot');
    await app.close();
  });

  it('refuses limits that mean nothing', () => {
    expect(() => UnitOfWork({ tries: 0 })(PlainHandler)).toThrow('tries is a whole number from 1');
  });
});

describe('the facts of a message', () => {
  it('begin a chain, go on in the commands below, and carry who acts', async () => {
    const { app, commands } = await start();
    await commands.execute(new Outer());
    const [outer, inner] = seen.map(({ facts }) => facts!);
    expect(outer).toMatchObject({ correlationId: outer!.messageId });
    expect(inner).toMatchObject({ correlationId: outer!.messageId, causationId: outer!.messageId });
    expect(inner!.messageId).not.toBe(outer!.messageId);

    await runWithMessage({ messageId: 'm', correlationId: 'c', actor: 'ann', tenant: 'acme' }, () => commands.execute(new Plain()));
    expect(seen.at(-1)?.facts).toMatchObject({ causationId: 'm', correlationId: 'c', actor: 'ann', tenant: 'acme' });
    await app.close();
  });

  it('are those prepared for the message, for one execution', async () => {
    const { app, commands } = await start();
    const [id, command] = [newId(), new Plain()];
    prepareMessage(command, { messageId: id, correlationId: id, idempotencyKey: id });
    await commands.execute(command);
    await commands.execute(command);
    expect(seen.map(({ facts }) => facts?.messageId === id)).toEqual([true, false]);
    expect(seen.map(({ facts }) => facts?.idempotencyKey)).toEqual([id, undefined]);
    await app.close();
  });
});

describe('a message without a handler', () => {
  it('is refused with the name of the nearest one', async () => {
    const { app, commands, queries } = await start();
    const failure = await commands.execute(new CancelOrder()).catch((error: unknown) => error);
    for (const type of [HandlerNotFound, TandemError, CommandHandlerNotFoundException]) expect(failure).toBeInstanceOf(type);
    expect(failure).not.toBeInstanceOf(OptimisticConcurrencyError);
    expect(failure).toMatchObject({ code: 'TANDEM_HANDLER_NOT_FOUND', data: { kind: 'command', message: 'CancelOrder', nearest: 'PlaceOrder' } });
    class Looking extends Query<string> {}
    await expect(queries.execute(new Looking())).rejects.toBeInstanceOf(QueryHandlerNotFoundException);
    await expect(queries.execute(new Looking())).rejects.toThrow('There is no handler for the query Looking; the nearest that has one is Look');
    await app.close();
  });

  it('is told apart from a class that was loaded twice', async () => {
    const { app, commands } = await start();
    const other = { PlaceOrder: class PlaceOrder extends Command<void> {} };
    await expect(commands.execute(new other.PlaceOrder())).rejects.toThrow('loaded twice');
    await app.close();
  });

  it('is not given to the handler of the class that it extends when some handler names it', async () => {
    class PlainAbroad extends Plain {}
    class GiftWrapped extends Plain {}
    const { app, commands } = await start();
    expect(await commands.execute(new GiftWrapped())).toBe('done');
    @CommandHandler(PlainAbroad)
    class Forgotten {}
    await expect(commands.execute(new PlainAbroad())).rejects.toThrow('There is no handler for the command PlainAbroad; the nearest that has one is Plain');
    expect(Forgotten).toBeDefined();
    await app.close();
  });

  it('is told apart from a message that was sent too early', async () => {
    const { app, commands } = await start({}, []);
    await expect(commands.execute(new Plain())).rejects.toThrow('none are registered');
    await app.close();
  });
});
