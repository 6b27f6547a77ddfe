import type { AddressInfo } from 'node:net';
import { type CanActivate, type ExecutionContext, type INestApplication, Injectable, Module, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { of } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import { memoryAdapters } from '../../../../test/support/memory-adapters.js';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import { Consumers } from '../events/consumers.js';
import { DeadLetters } from '../events/dead-letters.js';
import { JobStore } from '../jobs/job-store.js';
import { Clock } from '../kernel/clock.js';
import { TandemError } from '../kernel/errors.js';
import { MetricsInterceptor } from '../telemetry/metrics.interceptor.js';
import { PerformanceAnalyzer } from '../telemetry/performance-analyzer.js';
import { reportText } from '../telemetry/performance-report.js';
import { TandemModule } from '../tandem.module.js';
import { LocalOnlyGuard } from './local-only.guard.js';
import { OpsService } from './ops-service.js';
import { TandemOpsModule, type TandemOpsOptions } from './tandem-ops.module.js';

const asked: string[] = [];
@Injectable()
class FirstGuard implements CanActivate {
  canActivate(context: ExecutionContext) {
    asked.push('first');
    return of(context.switchToHttp().getRequest<Request & { headers: Record<string, string> }>().headers['x-first'] !== 'no');
  }
}
@Injectable()
class SecondGuard implements CanActivate {
  async canActivate(): Promise<boolean> {
    asked.push('second');
    return Promise.resolve(true);
  }
}

const retries: object[] = [];
const status = [
  { consumer: 'orders.order-view', kind: 'projection', state: 'running', reason: null, generation: 1, lag: 3, laggingShards: [5], sync: 'batched: 500 events or 2000 ms' },
];
const analyzer = new PerformanceAnalyzer(new Clock());
const room = (token: Type | (abstract new () => unknown), value: object) => ({ provide: token, useValue: value });
@Module({
  providers: [
    room(Consumers, { status: () => Promise.resolve(status) }),
    room(ConsumerRegistry, { has: (name: string) => name === 'orders.order-view' }),
    room(JobStore, { counts: () => Promise.resolve([{ name: 'mail', state: 'done', count: 2 }]), list: () => Promise.resolve([]) }),
    { provide: DeadLetters, useValue: { list: () => Promise.resolve([]), retry: (filter: object) => Promise.resolve(retries.push(filter)) } },
    { provide: PerformanceAnalyzer, useValue: analyzer },
  ],
  exports: [Consumers, ConsumerRegistry, JobStore, DeadLetters, PerformanceAnalyzer],
})
class Rooms {}

let app: INestApplication | undefined;
afterEach(() => app?.close());

async function start(options: TandemOpsOptions): Promise<(path: string, init?: RequestInit) => Promise<Response>> {
  const module = await Test.createTestingModule({ imports: [TandemOpsModule.forRoot({ imports: [Rooms], ...options })] }).compile();
  app = module.createNestApplication();
  await app.listen(0, '127.0.0.1');
  const { port } = (app.getHttpServer() as { address(): AddressInfo }).address();
  return (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init);
}

const post = (body: unknown): RequestInit => ({ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

describe('TandemOpsModule', () => {
  it.each([undefined, {}, { guards: [] }])('does not start without a guard (%o)', (options) => {
    expect(() => TandemOpsModule.forRoot(options as unknown as TandemOpsOptions)).toThrow(/TandemOpsModule.forRoot needs at least one guard/);
  });

  it('refuses an unknown option by name', () => {
    expect(() => TandemOpsModule.forRoot({ guards: [LocalOnlyGuard], pfad: 'x' } as TandemOpsOptions)).toThrow(/does not know pfad/);
  });

  it.each([
    ['*/*', 'text/plain'],
    ['text/html,application/json;q=0.9,*/*;q=0.8', 'text/plain'],
    ['application/json', 'application/json'],
    ['application/json, text/plain, */*', 'application/json'],
  ])('answers Accept: %s with %s', async (accept, type) => {
    const ask = await start({ guards: [LocalOnlyGuard] });
    analyzer.recordCommandExecution('PlaceOrder', { durationMs: 2 });
    const answer = await ask('/ops/report', { headers: { accept } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toContain(type);
    const text = await answer.text();
    if (type === 'application/json') expect((JSON.parse(text) as { commands: object[] }).commands).toContainEqual(expect.objectContaining({ type: 'PlaceOrder' }));
    else expect(text).toMatch(/PlaceOrder +\d+/);
  });

  it('tells the state of consumers, jobs and dead letters', async () => {
    const ask = await start({ guards: [LocalOnlyGuard] });
    expect(await (await ask('/ops/status')).json()).toEqual({ consumers: status, jobs: [{ name: 'mail', state: 'done', count: 2 }], parkedJobs: [], deadLetters: [] });
  });

  it('retries dead letters of a consumer, or of one of its streams', async () => {
    const ask = await start({ guards: [LocalOnlyGuard] });
    const answer = await ask('/ops/dead-letters/retry', post({ consumer: 'orders.order-view', stream: 'order-7' }));
    expect([answer.status, await answer.json()]).toEqual([200, { retried: 1 }]);
    expect(retries).toEqual([{ consumer: 'orders.order-view', stream: 'order-7' }]);
  });

  const named = { consumer: 'orders.order-view' };
  it.each([
    undefined,
    {},
    { consumer: 'nobody' },
    { ...named, stream: 7 },
    { ...named, stream: 'a\u0000b' },
    { ...named, tenant: 'ä' },
    { ...named, stream: 'x'.repeat(201) },
    { ...named, all: true },
  ])('refuses to retry %o', async (body) => {
    await start({ guards: [LocalOnlyGuard] });
    await expect(app!.get(OpsService).retryDeadLetters(body)).rejects.toSatisfy((error) => error instanceof TandemError && error.code === 'TANDEM_VALIDATION');
  });

  it('asks every guard in order, before every route, on the path that was given', async () => {
    const ask = await start({ guards: [FirstGuard, SecondGuard], path: 'intern/ops' });
    expect((await ask('/intern/ops/status')).status).toBe(200);
    expect(asked.splice(0)).toEqual(['first', 'second']);
    for (const [path, init] of [['report'], ['status'], ['dead-letters/retry', post({ consumer: 'orders.order-view' })]] as const) {
      const refused = await ask(`/intern/ops/${path}`, { ...init, headers: { ...init?.headers, 'X-First': 'no' } });
      expect(refused.status).toBe(403);
    }
    expect(asked.splice(0)).toEqual(['first', 'first', 'first']);
    expect((await ask('/ops/status')).status).toBe(404);
  });

  it.each([
    ['without the interceptor', [], /^Nothing is measured: list MetricsInterceptor/],
    ['with it', [MetricsInterceptor], undefined],
  ])('says why an empty report is empty: %s', async (_, interceptors, hint) => {
    const { storage, jobs } = memoryAdapters();
    const module = await Test.createTestingModule({
      imports: [TandemModule.forRoot({ storage, jobs, interceptors }), TandemOpsModule.forRoot({ guards: [LocalOnlyGuard] })],
    }).compile();
    const ops = module.get(OpsService);
    if (!hint) return expect(ops.report().hint).toBeUndefined();
    expect(ops.report().hint).toMatch(hint);
    expect(reportText(ops.report()).split('\n').at(-1)).toMatch(hint);
    module.get(PerformanceAnalyzer).recordCommandExecution('PlaceOrder', { durationMs: 1 });
    expect(ops.report().hint).toBeUndefined();
  });
});
