import { Logger, Module, type PipeTransform, type Type, UsePipes } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandBus, CommandHandler, EventBus, EventsHandler, Query, QueryBus, QueryHandler } from '@nestjs/cqrs';
import { Type as TransformedType } from 'class-transformer';
import { IsEmail, IsInt, IsNotEmpty, Min, ValidateNested } from 'class-validator';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { memoryAdapters } from '../../../../test/support/memory-adapters.js';
import { DomainEvent } from '../events/domain-event.js';
import { On } from '../events/on.js';
import { TandemError } from '../kernel/errors.js';
import { runWithMessage } from '../kernel/message-context.js';
import { Projection } from '../read/projection/projection.js';
import { CacheResult } from '../read/query-cache/cache-result.js';
import { QueryCache } from '../read/query-cache/query-cache.js';
import { Reads } from '../read/query/reads.js';
import { TandemModule } from '../tandem.module.js';
import type { TandemSettings } from '../tandem.options.js';
import { MetricsInterceptor } from './metrics.interceptor.js';
import { PerformanceAnalyzer } from './performance-analyzer.js';
import { ValidateWith } from './validate-with.js';
import { ValidationInterceptor } from './validation.interceptor.js';

class Line {
  @IsInt()
  @Min(1)
  quantity: number;
  constructor(quantity: number) {
    this.quantity = quantity;
  }
}
class PlaceOrder extends Command<string> {
  @IsEmail()
  readonly email: string;
  @IsNotEmpty()
  readonly id: string;
  @ValidateNested()
  @TransformedType(() => Line)
  readonly lines: Line[];
  constructor(id: string, email: string, lines: Line[]) {
    super();
    this.id = id;
    this.email = email;
    this.lines = lines;
  }
}
@ValidateWith(z.object({ id: z.string().min(1), parts: z.array(z.object({ weight: z.number().positive() })) }))
class Ship extends Command<string> {
  constructor(
    readonly id: string,
    readonly parts: { weight: number }[],
  ) {
    super();
  }
}
@ValidateWith(z.object({ id: z.string() }).refine(async () => false, 'never right as a whole'))
class Impossible extends Command<void> {
  constructor(readonly id: string) {
    super();
  }
}
class Count extends Query<number> {}
class Shipped {
  constructor(readonly secret: string) {}
}
class ShipmentView {}

@CommandHandler(PlaceOrder)
class PlaceOrderHandler {
  execute({ id }: PlaceOrder) {
    if (id === 'conflict') throw new TandemError('TANDEM_CONCURRENCY_CONFLICT', 'secret text');
    if (id === 'odd') throw new RangeError('secret text');
    return Promise.resolve('placed');
  }
}
@CommandHandler(Ship)
class ShipHandler {
  execute = () => Promise.resolve('shipped');
}
@CommandHandler(Impossible)
class ImpossibleHandler {
  execute = () => Promise.resolve();
}
@QueryHandler(Count)
@CacheResult()
@Reads(ShipmentView)
class CountHandler {
  execute = () => Promise.resolve(7);
}
class Find extends Query<string> {
  constructor(readonly id: string) {
    super();
  }
}
class Trimmed implements PipeTransform<Find, Find> {
  transform = ({ id }: Find) => new Find(id.trim());
}
@QueryHandler(Find)
@CacheResult()
@Reads(ShipmentView)
@UsePipes(Trimmed)
class FindHandler {
  execute = ({ id }: Find) => Promise.resolve(id);
}
@DomainEvent('shipment.sent', { version: 1, stream: (e) => ['shipment', e.id] })
class Sent {
  constructor(readonly id: string) {}
}
@Projection('shipments', { tables: [ShipmentView], version: 1 })
class ShipmentProjection {
  @On(Sent)
  sent() {}
}
@EventsHandler(Shipped)
class ShippedHandler {
  handle = () => undefined;
}

const providers = [PlaceOrderHandler, ShipHandler, ImpossibleHandler, CountHandler, FindHandler, ShippedHandler, ShipmentProjection];

async function start(settings: TandemSettings = {}) {
  const { storage, jobs } = memoryAdapters();
  @Module({ imports: [TandemModule.forRoot({ storage, jobs, ...settings })], providers })
  class Root {}
  const app = await NestFactory.createApplicationContext(Root, { logger: false });
  return { app, commands: app.get(CommandBus), queries: app.get(QueryBus), events: app.get(EventBus) };
}
const valid = (id = 'a') => new PlaceOrder(id, 'a@example.org', [new Line(1)]);
afterEach(() => void vi.restoreAllMocks());

describe('LoggingInterceptor, which is on by default', () => {
  it('writes one line for each message: what it was and how it went, never what was in it', async () => {
    const ok = vi.spyOn(Logger.prototype, 'log').mockImplementation(() => undefined);
    const failed = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    const { app, commands, queries, events } = await start();
    ok.mockClear();
    await runWithMessage({ messageId: 'm', correlationId: 'c' }, () => commands.execute(valid('private-id')));
    await queries.execute(new Count());
    events.publish(new Shipped('secret'));
    await vi.waitFor(() => expect(ok).toHaveBeenCalledTimes(3));
    for (const id of ['conflict', 'odd']) await commands.execute(valid(id)).catch(() => undefined);

    const lines = [...ok.mock.calls, ...failed.mock.calls].map(([line]) => String(line));
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      { kind: 'command', type: 'PlaceOrder', messageId: expect.any(String), correlationId: 'c', outcome: 'ok', durationMs: expect.any(Number) },
      { kind: 'query', type: 'Count', messageId: expect.any(String), correlationId: expect.any(String), outcome: 'ok', durationMs: expect.any(Number) },
      {
        kind: 'event',
        type: 'Shipped',
        handler: 'ShippedHandler',
        messageId: expect.any(String),
        correlationId: expect.any(String),
        outcome: 'ok',
        durationMs: expect.any(Number),
      },
      {
        kind: 'command',
        type: 'PlaceOrder',
        messageId: expect.any(String),
        correlationId: expect.any(String),
        outcome: 'failed',
        error: 'TANDEM_CONCURRENCY_CONFLICT',
        durationMs: expect.any(Number),
      },
      {
        kind: 'command',
        type: 'PlaceOrder',
        messageId: expect.any(String),
        correlationId: expect.any(String),
        outcome: 'failed',
        error: 'RangeError',
        durationMs: expect.any(Number),
      },
    ]);
    for (const line of lines) expect(line).not.toMatch(/private-id|secret|example|\n/);
    await app.close();
  });
});

describe('ValidationInterceptor', () => {
  const violations = (error: unknown) => (error as TandemError).data['violations'];
  const interceptors: Type[] = [ValidationInterceptor];

  it('lets what is valid through', async () => {
    const { app, commands } = await start({ interceptors: interceptors as never });
    expect(await commands.execute(valid())).toBe('placed');
    expect(await commands.execute(new Ship('a', [{ weight: 1 }]))).toBe('shipped');
    await app.close();
  });

  it('tells every violation of class-validator at once, nested ones by their path', async () => {
    const { app, commands } = await start({ interceptors: interceptors as never });
    const failure = await commands.execute(new PlaceOrder('', 'nobody', [new Line(1), new Line(0.5)])).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'TANDEM_VALIDATION' });
    expect(violations(failure)).toEqual(
      expect.arrayContaining([
        { path: 'email', message: 'email must be an email' },
        { path: 'id', message: 'id should not be empty' },
        { path: 'lines[1].quantity', message: 'quantity must be an integer number' },
        { path: 'lines[1].quantity', message: 'quantity must not be less than 1' },
      ]),
    );
    expect(violations(failure)).toHaveLength(4);
    await app.close();
  });

  it('tells every violation of a schema at once', async () => {
    const { app, commands } = await start({ interceptors: interceptors as never });
    const failure = await commands.execute(new Ship('', [{ weight: 1 }, { weight: -1 }])).catch((error: unknown) => error);
    expect(violations(failure)).toEqual([
      { path: 'id', message: expect.any(String) },
      { path: 'parts[1].weight', message: expect.any(String) },
    ]);
    const asAWhole = await commands.execute(new Impossible('a')).catch((error: unknown) => error);
    expect(violations(asAWhole)).toEqual([{ path: '', message: 'never right as a whole' }]);
    await app.close();
  });

  it('takes only classes that the schema can take', () => {
    // @ts-expect-error -- the schema wants a string
    @ValidateWith(z.object({ id: z.string() }))
    class Wrong {
      constructor(readonly id: number) {}
    }
    expect(new Wrong(1).id).toBe(1);
  });
});

describe('MetricsInterceptor', () => {
  it('counts and times commands, queries with their cache hits, and event handlers', async () => {
    const { app, commands, queries, events } = await start({ interceptors: [MetricsInterceptor] });
    await commands.execute(valid());
    await commands.execute(valid('odd')).catch(() => undefined);
    await queries.execute(new Count());
    await queries.execute(new Count());
    events.publish(new Shipped('a'));
    const analyzer = app.get(PerformanceAnalyzer);
    await vi.waitFor(() => expect(analyzer.report().events).toHaveLength(1));
    const report = analyzer.report();
    expect(report.commands).toMatchObject([{ type: 'PlaceOrder', executions: 2, errors: 1 }]);
    expect(report.queries).toMatchObject([{ type: 'Count', executions: 2, errors: 0, cacheHits: 1, hitRate: 0.5 }]);
    expect(report.events).toMatchObject([{ type: 'ShippedHandler', executions: 1, errors: 0 }]);
    expect(report.commands[0]!.totalMs).toBeGreaterThan(0);
    await app.close();
  });

  it('counts as a hit what was answered from the cache, also when a query is sent again or replaced by a pipe', async () => {
    const { app, queries } = await start({ interceptors: [MetricsInterceptor] });
    const cache = app.get(QueryCache);
    const count = new Count();
    await queries.execute(count);
    await queries.execute(count);
    cache.invalidate(['ShipmentView']);
    await queries.execute(count);
    for (const id of ['a', ' a', 'a ', 'b']) await queries.execute(new Find(id));
    expect(
      app
        .get(PerformanceAnalyzer)
        .report()
        .queries.toSorted((a, b) => (a.type < b.type ? -1 : 1)),
    ).toMatchObject([
      { type: 'Count', executions: 3, cacheHits: 1 },
      { type: 'Find', executions: 4, cacheHits: 2 },
    ]);
    expect(cache.counts).toEqual({ hits: 3, misses: 4 });
    await app.close();
  });
});
