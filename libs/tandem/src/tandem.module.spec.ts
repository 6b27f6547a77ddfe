import { type CanActivate, Controller, type ExecutionContext, Get, Injectable, Module, Param, Post, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandBus, CommandHandler, EventBus } from '@nestjs/cqrs';
import supertest from 'supertest';
import { describe, expect, it } from 'vitest';
import { memoryAdapters } from '../../../test/support/memory-adapters.js';
import { DomainEvent } from './events/domain-event.js';
import { TandemEventBus } from './events/tandem-event-bus.js';
import { TandemModule } from './tandem.module.js';
import { resolveSettings, TANDEM_SETTINGS, type TandemSettings } from './tandem.options.js';
import { TandemCommandBus } from './write/command/command-bus.js';

describe('TandemModule', () => {
  it('takes its settings from what a factory injects', async () => {
    @Injectable()
    class Config {
      readonly role = 'api' as const;
    }
    @Module({ providers: [Config], exports: [Config] })
    class ConfigModule {}
    const { storage, jobs } = memoryAdapters();
    @Module({
      imports: [
        TandemModule.forRootAsync({
          storage,
          jobs,
          imports: [ConfigModule],
          inject: [Config],
          useFactory: async (config: Config) => ({ role: config.role, unitOfWork: 'opt-in' as const }),
        }),
      ],
    })
    class Root {}
    const app = await NestFactory.createApplicationContext(Root, { logger: false });
    expect(app.get(TANDEM_SETTINGS)).toMatchObject({ role: 'api', unitOfWork: 'opt-in', batchSize: 1_000 });
    await app.close();
  });

  it('is global: a feature module injects the buses without an import', async () => {
    @Injectable()
    class Feature {
      constructor(
        readonly commands: CommandBus,
        readonly events: EventBus,
      ) {}
    }
    @Module({ providers: [Feature] })
    class FeatureModule {}
    const { storage, jobs } = memoryAdapters();
    @Module({ imports: [FeatureModule, TandemModule.forRoot({ storage, jobs })] })
    class Root {}
    const app = await NestFactory.createApplicationContext(Root, { logger: false });
    expect(app.get(Feature).commands).toBeInstanceOf(TandemCommandBus);
    expect(app.get(Feature).events).toBeInstanceOf(TandemEventBus);
    await app.close();
  });

  it('refuses a missing or misplaced adapter at once', () => {
    const { storage, jobs } = memoryAdapters();
    expect(() => TandemModule.forRoot({ jobs } as never)).toThrow('The option `storage` of TandemModule is missing. Give it typeOrmStorage(…).');
    expect(() => TandemModule.forRoot({ storage, jobs: storage as never })).toThrow('The option `jobs` of TandemModule is a storage adapter');
    expect(() => TandemModule.forRoot({ storage, jobs: {} as never })).toThrow('is no adapter');
  });
});

describe('TandemModule over HTTP', () => {
  @DomainEvent('note.written', { version: 1, stream: (e) => ['note', e.id] })
  class NoteWritten {
    constructor(readonly id: string) {}
  }
  class WriteNote extends Command<void> {
    constructor(readonly id: string) {
      super();
    }
  }
  @CommandHandler(WriteNote)
  class WriteNoteHandler {
    constructor(private readonly events: EventBus) {}
    async execute({ id }: WriteNote) {
      await this.events.publish(new NoteWritten(id));
    }
  }
  @Injectable()
  class HeaderGuard implements CanActivate {
    canActivate(context: ExecutionContext) {
      const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: string }>();
      request.user = request.headers['x-user'];
      return request.user !== undefined;
    }
  }
  @Controller('notes')
  @UseGuards(HeaderGuard)
  class NotesController {
    constructor(private readonly commands: CommandBus) {}
    @Post(':id')
    async write(@Param('id') id: string) {
      await this.commands.execute(new WriteNote(`${id}-1`));
      await this.commands.execute(new WriteNote(`${id}-2`));
    }
    @Get()
    read() {
      return [];
    }
  }

  it('carries who acts, the trace and one correlation id into the log, and answers a write with its token', async () => {
    const { storage, jobs, log } = memoryAdapters();
    const identity = (context: ExecutionContext) => ({ actor: context.switchToHttp().getRequest<{ user: string }>().user, tenant: 'acme' });
    @Module({ imports: [TandemModule.forRoot({ storage, jobs, identity })], providers: [WriteNoteHandler], controllers: [NotesController] })
    class Root {}
    const app = await NestFactory.create(Root, { logger: false });
    await app.init();
    const http = supertest(app.getHttpServer() as never);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

    await http.post('/notes/a').expect(403);
    const written = await http.post('/notes/a').set('x-user', 'ann').set('traceparent', traceparent).expect(201);
    expect(written.headers['consistency-token']).toEqual(expect.any(String));
    const [first, second] = log.events.map(({ tenant, metadata }) => ({ tenant, ...(JSON.parse(metadata) as { correlationId: string; causationId: string }) }));
    expect(first).toMatchObject({ tenant: 'acme', actor: 'ann', traceparent });
    expect(second!.correlationId).toBe(first!.correlationId);
    expect(second!.causationId).not.toBe(first!.causationId);

    const read = await http.get('/notes').set('x-user', 'ann').expect(200);
    expect(read.headers).not.toHaveProperty('consistency-token');
    await app.close();
  });
});

describe('settings', () => {
  it('have defaults, are frozen, and take an option that is undefined as left out', () => {
    const settings = resolveSettings({ batchSize: undefined, drainTimeoutMs: 5 });
    expect(settings).toMatchObject({ role: 'all', batchSize: 1_000, drainTimeoutMs: 5, problems: [] });
    expect(Object.isFrozen(settings)).toBe(true);
  });

  it('name what is wrong with an option and keep its default', () => {
    const wrong: Record<string, unknown> = {
      unitOfWork: 'sometimes',
      wiringErrors: true,
      inheritGlobalEnhancers: 1,
      identity: {},
      interceptors: ['LoggingInterceptor'],
      cqrs: null,
      reconcileEveryMs: 0.5,
      jobLeaseMs: Number.NaN,
      toString: 1,
    };
    const { problems, ...settings } = resolveSettings(wrong as TandemSettings);
    expect(problems).toEqual([
      "option `unitOfWork` of TandemModule is 'sometimes', expected one of 'all', 'opt-in'",
      "option `wiringErrors` of TandemModule is true, expected one of 'throw', 'warn'",
      'option `inheritGlobalEnhancers` of TandemModule is 1, expected a boolean',
      'option `identity` of TandemModule is of type object, expected a function',
      'option `interceptors` of TandemModule is of type list, expected a list of classes',
      'option `cqrs` of TandemModule is null, expected an object',
      'option `reconcileEveryMs` of TandemModule is 0.5, expected a whole number from 1',
      'option `jobLeaseMs` of TandemModule is NaN, expected a whole number from 100',
      expect.stringContaining('there is no option `toString` of TandemModule'),
    ]);
    expect(settings).toEqual((({ problems: _none, ...defaults }) => defaults)(resolveSettings({})));
  });
});
