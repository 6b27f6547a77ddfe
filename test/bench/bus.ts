/** What the query bus itself costs: a handler that answers at once, on @nestjs/cqrs as it is and on Tandem with 0, 1 and 5 interceptors. */
import { type CallHandler, type ExecutionContext, Injectable, Module, type NestInterceptor } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CqrsModule, QueryBus } from '@nestjs/cqrs';
import type { Observable } from 'rxjs';
import { Ask, AskHandler, startLedger } from './ledger.js';
import { compare, type Figure, perSecond, type Stage, tableHead } from './stage.js';

const QUERIES = 50_000;

abstract class Passing implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle();
  }
}
const passing = Array.from({ length: 5 }, () => {
  @Injectable()
  class One extends Passing {}
  return One;
});

export async function bus(stage: Stage): Promise<void> {
  @Module({ imports: [CqrsModule.forRoot()], providers: [AskHandler] })
  class Bare {}
  const bare = await NestFactory.createApplicationContext(Bare, { logger: ['error'] });
  const ledgers = await Promise.all([0, 1, 5].map((count) => startLedger(stage.place, { role: 'api', interceptors: passing.slice(0, count) })));
  const asking = (queries: QueryBus) => (): Promise<Figure> =>
    perSecond(async () => {
      for (let n = 0; n < QUERIES; n++) await queries.execute(new Ask());
      return QUERIES;
    });
  tableHead('queries per second');
  await compare('an empty query', stage, {
    '@nestjs/cqrs': asking(bare.get(QueryBus)),
    'Tandem, no interceptor': asking(ledgers[0]!.app.get(QueryBus)),
    'Tandem, 1 interceptor': asking(ledgers[1]!.app.get(QueryBus)),
    'Tandem, 5 interceptors': asking(ledgers[2]!.app.get(QueryBus)),
  });
  for (const { app } of ledgers) await app.close();
  await bare.close();
}
