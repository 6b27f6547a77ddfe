import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor, type Provider, UseInterceptors } from '@nestjs/common';
import { Command, CommandBus, CommandHandler, EventBus, type ICommandHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { catchError, defer, from, lastValueFrom, mergeMap, type Observable, of, toArray } from 'rxjs';
import { Repository } from 'typeorm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { Letter } from '../../../../test/support/bank.js';
import { describeServers, sqlBackends, sqlServers, type SqlBackend } from '../../../../test/support/backends.js';
import { PooledConnection } from '../adapters/typeorm/pooled-connection.js';
import { DomainEvent } from '../events/domain-event.js';
import { UnitOfWork } from '../kernel/unit-of-work.js';
import { DurableJobs } from './durable-jobs.js';
import { QueuedCommand } from './queued-command.js';

@DomainEvent('spec.noted', { version: 1, stream: (e) => ['spec', e.id] })
class Noted {
  constructor(readonly id: string) {}
}

abstract class Note extends Command<void> {
  constructor(readonly id: string) {
    super();
  }
}
@QueuedCommand('spec.note-outside', { queue: 'spec', effect: 'sql', attempts: 2, backoffMs: 10 })
class NoteOutside extends Note {}
@QueuedCommand('spec.note-before', { queue: 'spec', effect: 'sql', attempts: 2, backoffMs: 10 })
class NoteBefore extends Note {}
@QueuedCommand('spec.note-around', { queue: 'spec', effect: 'sql', attempts: 2, backoffMs: 10 })
class NoteAround extends Note {}

@QueuedCommand('spec.note-together', { queue: 'spec', effect: 'sql', attempts: 2, backoffMs: 10, batchSize: 10 })
class NoteTogether extends Note {}

@QueuedCommand('spec.note-excused', { queue: 'spec', effect: 'sql', attempts: 2, backoffMs: 10, batchSize: 10 })
class NoteExcused extends Note {}

@QueuedCommand('spec.note-both', { queue: 'spec', effect: 'sql', attempts: 2, backoffMs: 10, batchSize: 10 })
class NoteBoth extends Note {
  constructor(
    id: string,
    readonly inner?: string,
  ) {
    super(id);
  }
}

/** What a handler throws is no error to its caller. */
@Injectable()
class Excuses implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(catchError(() => of('excused')));
  }
}

@Injectable()
class PublishesBefore implements NestInterceptor {
  constructor(private readonly events: EventBus) {}
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return defer(() => from(Promise.resolve(this.events.publish(new Noted('before'))))).pipe(mergeMap(() => next.handle()));
  }
}

@Injectable()
class WorksAround implements NestInterceptor {
  constructor(private readonly units: UnitOfWork) {}
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return from(this.units.run(() => lastValueFrom(next.handle().pipe(toArray()))));
  }
}

@CommandHandler(NoteOutside)
class NoteOutsideHandler implements ICommandHandler<NoteOutside> {
  constructor(
    @InjectRepository(Letter) private readonly letters: Repository<Letter>,
    private readonly events: EventBus,
    private readonly units: UnitOfWork,
  ) {}
  async execute({ id }: NoteOutside): Promise<void> {
    await this.units.outside(() => this.events.publish(new Noted(id)));
    await this.letters.insert({ accountId: id, count: 1 });
  }
}

@CommandHandler(NoteBefore)
@UseInterceptors(PublishesBefore)
class NoteBeforeHandler implements ICommandHandler<NoteBefore> {
  constructor(@InjectRepository(Letter) private readonly letters: Repository<Letter>) {}
  async execute({ id }: NoteBefore): Promise<void> {
    await this.letters.insert({ accountId: id, count: 1 });
  }
}

@CommandHandler(NoteAround)
@UseInterceptors(WorksAround)
class NoteAroundHandler implements ICommandHandler<NoteAround> {
  constructor(@InjectRepository(Letter) private readonly letters: Repository<Letter>) {}
  async execute({ id }: NoteAround): Promise<void> {
    await this.letters.insert({ accountId: id, count: 1 });
  }
}

@CommandHandler(NoteTogether)
@UseInterceptors(PublishesBefore)
class NoteTogetherHandler implements ICommandHandler<NoteTogether> {
  constructor(@InjectRepository(Letter) private readonly letters: Repository<Letter>) {}
  async execute({ id }: NoteTogether): Promise<void> {
    await this.letters.insert({ accountId: id, count: 1 });
  }
}

@CommandHandler(NoteExcused)
@UseInterceptors(Excuses)
class NoteExcusedHandler implements ICommandHandler<NoteExcused> {
  constructor(@InjectRepository(Letter) private readonly letters: Repository<Letter>) {}
  async execute({ id }: NoteExcused): Promise<void> {
    await this.letters.insert({ accountId: id, count: 1 });
    if (id === 'excused-2') throw new Error('and yet it wrote');
  }
}

/** Sends a command of its own kind, and does without it where it fails. */
@CommandHandler(NoteBoth)
class NoteBothHandler implements ICommandHandler<NoteBoth> {
  constructor(
    @InjectRepository(Letter) private readonly letters: Repository<Letter>,
    private readonly commands: CommandBus,
  ) {}
  async execute({ id, inner }: NoteBoth): Promise<void> {
    await this.letters.insert({ accountId: id, count: 1 });
    if (id === 'wrong') throw new Error('and yet it wrote');
    if (inner) await this.commands.execute(new NoteBoth(inner)).catch(() => undefined);
  }
}

let place: BankPlace;
let bank: Bank;
afterEach(async () => {
  await bank.app.close();
  await place.remove();
});

/** A job whose effect had been lost would have no row, one that ran twice would have failed on its key. */
async function effectOf(backend: SqlBackend, job: Note, providers: readonly Provider[]): Promise<void> {
  place = await bankPlace(backend);
  bank = await startBank(place, { providers });
  await bank.app.get(DurableJobs).enqueue(job);
  await bank.idle();
  expect(await bank.rows(`SELECT state, attempts FROM tandem_job`)).toEqual([{ state: 'done', attempts: 1 }]);
  expect(await bank.db.getRepository(Letter).findBy({ accountId: job.id })).toEqual([{ accountId: job.id, count: 1 }]);
}

describe.each(sqlBackends())('the effect of a job on $name', { timeout: 60_000 }, (backend) => {
  it('is there when an interceptor of the handler has published in a unit of its own', () => effectOf(backend, new NoteBefore('before'), [NoteBeforeHandler, PublishesBefore]));

  it('is there when an interceptor has put the handler into a unit of its own', () => effectOf(backend, new NoteAround('around'), [NoteAroundHandler, WorksAround]));

  it('is undone with its handler that failed, also beside jobs that run together, where an interceptor makes a success of it', async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: [NoteExcusedHandler, Excuses] });
    await bank.app.get(UnitOfWork).run(async () => {
      for (let i = 1; i <= 4; i++) await bank.app.get(DurableJobs).enqueue(new NoteExcused(`excused-${i}`));
    });
    await bank.idle();
    expect((await bank.db.getRepository(Letter).find()).map(({ accountId }) => accountId).toSorted()).toEqual(['excused-1', 'excused-3', 'excused-4']);
    expect(await bank.rows('SELECT state, attempts FROM tandem_job ORDER BY id')).toEqual([0, 1, 0, 0].map((attempts) => ({ state: 'done', attempts })));
  });

  it('is not touched by a command of the same kind that a handler sends beside jobs that run together', async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: [NoteBothHandler] });
    await bank.app.get(UnitOfWork).run(async () => {
      for (const job of [new NoteBoth('a', 'inner'), new NoteBoth('b', 'wrong'), new NoteBoth('c')]) await bank.app.get(DurableJobs).enqueue(job);
    });
    await bank.idle();
    expect((await bank.db.getRepository(Letter).find()).map(({ accountId }) => accountId).toSorted()).toEqual(['a', 'b', 'c', 'inner']);
    expect(await bank.rows('SELECT state, attempts FROM tandem_job')).toEqual([0, 0, 0].map((attempts) => ({ state: 'done', attempts })));
  });

  it('costs jobs that run together no statement of each of their own', async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: [NoteTogetherHandler, PublishesBefore] });
    const ids = Array.from({ length: 10 }, (_, i) => `together-${i}`);
    const send = vi.spyOn(PooledConnection.prototype, 'send');
    await bank.app.get(UnitOfWork).run(async () => {
      for (const id of ids) await bank.app.get(DurableJobs).enqueue(new NoteTogether(id));
    });
    await bank.idle();
    const texts = send.mock.calls.map(([text]) => text);
    vi.restoreAllMocks();
    expect(await bank.rows('SELECT DISTINCT state, attempts FROM tandem_job')).toEqual([{ state: 'done', attempts: 0 }]);
    expect((await bank.db.getRepository(Letter).find()).map(({ accountId }) => accountId).toSorted()).toEqual(ids);
    expect(texts.filter((text) => text.includes('SAVEPOINT'))).toEqual([]);
    expect([/tandem_job\W+SET state = 'running'/, /tandem_job\W+SET state = 'done'/].map((what) => texts.filter((text) => what.test(text)).length)).toEqual([1, 1]);
  });
});

describeServers('the effect of a job on $name', sqlServers(), (backend) => {
  it('is there when the handler has published outside of its unit', { timeout: 60_000 }, () => effectOf(backend, new NoteOutside('outside'), [NoteOutsideHandler]));
});
