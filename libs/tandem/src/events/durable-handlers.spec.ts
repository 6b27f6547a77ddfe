/** `@Durable` handlers of events: consumers of the log, on every database. */
import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor, UseInterceptors } from '@nestjs/common';
import { EventBus, EventsHandler, type IEventHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { Column, Entity, PrimaryColumn, type Repository } from 'typeorm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { Charge, Charged, Open, Opened } from '../../../../test/support/bank.js';
import { sqlBackends } from '../../../../test/support/backends.js';
import { currentMessage } from '../kernel/message-context.js';
import { currentUnit } from '../kernel/unit-of-work.js';
import { Projection } from '../read/projection/projection.js';
import { DeadLetters } from './dead-letters.js';
import { Durable } from './durable.js';
import { On } from './on.js';

@Entity('spec_audit')
class Audit {
  @PrimaryColumn('varchar', { length: 80 }) id!: string;
  @Column('int') events!: number;
}

const intercepted: string[] = [];
const heard: string[] = [];
let poisoned: string | undefined;
let misbehaving = false;

@Injectable()
class Listening implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    intercepted.push(context.getArgByIndex<Opened>(0).accountId);
    return next.handle();
  }
}

@EventsHandler(Opened, Charged)
@Durable('spec.audit')
@UseInterceptors(Listening)
class AuditAccounts implements IEventHandler<Opened | Charged> {
  constructor(
    @InjectRepository(Audit) private readonly audits: Repository<Audit>,
    private readonly events: EventBus,
  ) {}
  async handle({ accountId: id }: Opened | Charged): Promise<void> {
    const { events } = (await this.audits.findOneBy({ id })) ?? { events: 0 };
    await this.audits.save({ id, events: events + 1 });
    heard.push(`durable ${id} ${currentUnit()?.kind} ${currentMessage()?.messageId.length}`);
    if (misbehaving) this.events.publish(new Opened(`${id}-more`));
    if (id === poisoned) throw new Error(`poisoned ${id}`);
  }
}

@EventsHandler(Opened)
class InMemory implements IEventHandler<Opened> {
  handle({ accountId }: Opened): void {
    heard.push(`in memory ${accountId}`);
  }
}

@EventsHandler(Opened)
@Durable('spec.late')
class Late implements IEventHandler<Opened> {
  handle({ accountId }: Opened): void {
    heard.push(`late ${accountId}`);
  }
}

describe.each(sqlBackends())('a durable handler of events on $name', { timeout: 60_000 }, (backend) => {
  let place: BankPlace;
  const started: Bank[] = [];
  afterEach(async () => {
    for (const { app } of started.splice(0)) await app.close();
    await place.remove();
    [heard, intercepted].forEach((list) => (list.length = 0));
    [poisoned, misbehaving] = [undefined, false];
  });
  const start = async (options: Parameters<typeof startBank>[1]): Promise<Bank> => {
    const bank = await startBank(place, { entities: [Audit], ...options });
    started.push(bank);
    return bank;
  };
  const audits = ({ db }: Bank) => db.getRepository(Audit).find({ order: { id: 'ASC' } });

  it('is called by a worker, from the log, in a transaction of its own; one that is not durable stays in memory', async () => {
    place = await bankPlace(backend);
    const bank = await start({ providers: [AuditAccounts, InMemory] });
    await bank.commands.execute(new Open('a'));
    await bank.commands.execute(new Charge('a', '1'));
    await bank.idle();
    expect(await audits(bank)).toEqual([{ id: 'a', events: 2 }]);
    expect(heard.toSorted()).toEqual(['durable a consumer 36', 'durable a consumer 36', 'in memory a']);
    expect(intercepted).toEqual(['a', 'a']);
  });

  it('hears what was published while no worker ran, and nothing from before it was added', async () => {
    place = await bankPlace(backend);
    const api = await start({ role: 'api', providers: [AuditAccounts] });
    await api.commands.execute(new Open('b'));
    expect(await audits(api)).toEqual([]);
    const worker = await start({ role: 'worker', providers: [AuditAccounts, Late] });
    await worker.idle();
    expect(await audits(worker)).toEqual([{ id: 'b', events: 1 }]);
    await api.commands.execute(new Open('c'));
    await worker.idle();
    expect(heard.filter((line) => line.startsWith('late'))).toEqual(['late c']);
  });

  it('holds back the stream of an event that fails, whose writes are undone, and no other', async () => {
    place = await bankPlace(backend);
    const bank = await start({ providers: [AuditAccounts], consumerAttempts: 2 });
    poisoned = 'p';
    for (const id of ['p', 'q']) await bank.commands.execute(new Open(id));
    await bank.commands.execute(new Charge('p', '1'));
    await vi.waitFor(async () => expect(await bank.app.get(DeadLetters).list({ consumer: 'spec.audit' })).toMatchObject([{ stream: 'account-p', state: 'parked' }]), 20_000);
    await vi.waitFor(async () => expect(await audits(bank)).toEqual([{ id: 'q', events: 1 }]), 20_000);
    poisoned = undefined;
    await bank.app.get(DeadLetters).retry({ consumer: 'spec.audit' });
    await vi.waitFor(async () => expect(await audits(bank)).toEqual([{ id: 'p', events: 2 }, { id: 'q', events: 1 }]), 20_000); // prettier-ignore
    await bank.idle();
  });

  it('may not publish: its event fails', async () => {
    place = await bankPlace(backend);
    const bank = await start({ providers: [AuditAccounts], consumerAttempts: 1 });
    misbehaving = true;
    await bank.commands.execute(new Open('m'));
    await vi.waitFor(
      async () => expect(await bank.app.get(DeadLetters).list({ consumer: 'spec.audit' })).toMatchObject([{ error: expect.stringContaining('TANDEM_EVENT_OUTSIDE_COMMAND') }]),
      20_000,
    );
    expect(await audits(bank)).toEqual([]);
  });
});

it('is refused at start without events, for events that are not on the log, twice under one name, and as a projection too', async () => {
  class Plain {}
  @Durable('spec.nothing')
  class HandlesNothing {}
  @EventsHandler(Plain)
  @Durable('spec.plain')
  class HandlesPlain {
    handle() {}
  }
  @EventsHandler(Opened)
  @Durable('spec.plain2')
  class One {
    handle() {}
  }
  @EventsHandler(Opened)
  @Durable('spec.plain2')
  class Other {
    handle() {}
  }
  @EventsHandler(Opened)
  @Durable('spec.both')
  @Projection('spec.also-read', { tables: [Audit], version: 1 })
  class Both {
    handle() {}
    @On(Opened) opened() {}
  }
  const place = await bankPlace(sqlBackends()[0]!);
  const failure = await startBank(place, { providers: [HandlesNothing, HandlesPlain, One, Other, Both] }).catch((error: unknown) => error);
  expect(String(failure)).toContain('HandlesNothing (BankModule) has @Durable but no @EventsHandler');
  expect(String(failure)).toContain('Plain has no @DomainEvent, but HandlesPlain (BankModule) has a method for it');
  expect(String(failure)).toContain('"spec.plain2" is the name of both One (BankModule) and Other (BankModule)');
  expect(String(failure)).toContain('Both (BankModule) is both "spec.both" and "spec.also-read": a class is one projection, saga or durable handler');
  expect(() => Durable('Bad Name')(One)).toThrow(expect.objectContaining({ code: 'TANDEM_WIRING' }));
  expect(() => Durable('a', { from: 'now' } as never)(One)).toThrow(expect.objectContaining({ code: 'TANDEM_WIRING' }));
  await place.remove();
}, 60_000);
