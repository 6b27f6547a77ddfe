import { Logger } from '@nestjs/common';
import { Command, CommandHandler, EventBus } from '@nestjs/cqrs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../../test/support/bank-application.js';
import { CountLetter, Letter, LetterSaga, Open, Opened } from '../../../../../test/support/bank.js';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { ConsumerRegistry } from '../../events/consumer-registry.js';
import { ConsumerRuntime } from '../../events/consumer-runtime.js';
import { DeadLetters } from '../../events/dead-letters.js';
import { On } from '../../events/on.js';
import { QueuedCommand } from '../../jobs/queued-command.js';
import { DurableSaga } from './durable-saga.js';
import { MAX_SAGA_DEPTH } from './saga-consumer.js';

class LettersToAll {
  @On(Opened)
  opened({ accountId }: Opened): CountLetter {
    return new CountLetter(`base-${accountId}`);
  }
}

@DurableSaga('spec.derived')
class LettersToSome extends LettersToAll {
  @On(Opened)
  override opened({ accountId }: Opened): CountLetter {
    return new CountLetter(`derived-${accountId}`);
  }
}

@QueuedCommand('spec.nobodys', { queue: 'nobodys', effect: 'sql' })
class Nobodys extends Command<void> {}

@DurableSaga('spec.to-nobody')
class LettersToNobody {
  @On(Opened)
  opened(_event: Opened) {
    return [new Nobodys()];
  }
}

@QueuedCommand('spec.open-next', { queue: 'counting', effect: 'sql' })
class OpenNext extends Command<void> {
  constructor(readonly round: number) {
    super();
  }
}

class OpenMany extends Command<void> {
  constructor(readonly count: number) {
    super();
  }
}

/** Goes round in a circle: event, job, event, … */
@DurableSaga('spec.circle')
class Circle {
  @On(Opened)
  opened({ accountId }: Opened) {
    return accountId.startsWith('round-') ? new OpenNext(Number(accountId.slice('round-'.length)) + 1) : undefined;
  }
}

@CommandHandler(OpenNext)
class OpenNextHandler {
  constructor(private readonly events: EventBus) {}
  async execute({ round }: OpenNext): Promise<void> {
    this.events.publish(new Opened(`round-${round}`));
  }
}

@DurableSaga('spec.from-now')
class FromNow {
  @On(Opened)
  opened({ accountId }: Opened) {
    return new CountLetter(`now-${accountId}`);
  }
}

@DurableSaga('spec.from-the-beginning', { startFrom: 'beginning' })
class FromTheBeginning {
  @On(Opened)
  opened({ accountId }: Opened) {
    return new CountLetter(`all-${accountId}`);
  }
}

@CommandHandler(OpenMany)
class OpenManyHandler {
  constructor(private readonly events: EventBus) {}
  async execute({ count }: OpenMany): Promise<void> {
    this.events.publishAll(Array.from({ length: count }, (_, i) => new Opened(`many-${i}`)));
  }
}

describe.each(sqlBackends())('a durable saga on $name', { timeout: 60_000 }, (backend) => {
  let place: BankPlace;
  let bank: Bank;
  afterEach(async () => {
    await bank.app.close();
    await place.remove();
  });

  it('says once that it returned a command which nothing here handles', async () => {
    const warned = vi.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: [LettersToNobody] });
    for (const id of ['a', 'b']) await bank.commands.execute(new Open(id));
    await vi.waitFor(async () => expect(await bank.rows("SELECT state FROM tandem_job WHERE name = 'spec.nobodys'")).toHaveLength(2), { timeout: 20_000, interval: 20 });
    const lines = warned.mock.calls.map(([line]) => String(line)).filter((line) => line.includes('spec.nobodys'));
    warned.mockRestore();
    expect(lines).toEqual(['"spec.nobodys" is queued, but no module here provides a handler for it: it waits in queue "nobodys" until a worker that has one takes it']);
  });

  it('creates one job for an event whose method it has overridden and marked again', async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: [LettersToSome] });
    await bank.commands.execute(new Open('a'));
    await bank.idle();
    expect(await bank.rows("SELECT name FROM tandem_job WHERE dedupe_key LIKE 'spec.derived:%'")).toEqual([{ name: 'bank.count-letter' }]);
    expect(await bank.db.getRepository(Letter).find({ order: { accountId: 'ASC' } })).toEqual([
      { accountId: 'a', count: 1 },
      { accountId: 'derived-a', count: 1 },
    ]);
  });

  it('that goes round in a circle is stopped at depth 32, where its event is parked for all to see', async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: [Circle, OpenNextHandler], without: [LetterSaga], consumerAttempts: 2 });
    await bank.commands.execute(new Open('round-0'));
    await vi.waitFor(async () => expect(await bank.app.get(DeadLetters).list({ consumer: 'spec.circle' })).toMatchObject([{ state: 'parked' }]), { timeout: 50_000, interval: 50 });
    const [letter] = await bank.app.get(DeadLetters).list({ consumer: 'spec.circle' });
    expect(letter).toMatchObject({ stream: `account-round-${MAX_SAGA_DEPTH}`, error: expect.stringContaining('"spec.circle" would be the next') });
    expect(await bank.rows("SELECT COUNT(*) AS n FROM tandem_job WHERE name = 'spec.open-next' AND state = 'done'").then(([row]) => Number((row as { n: string }).n))).toBe(
      MAX_SAGA_DEPTH,
    );
  });

  it('that is added to a log of 1,000 events fires nothing, or for each of them where it says so', async () => {
    place = await bankPlace(backend);
    const before = await startBank(place, { role: 'api', providers: [OpenManyHandler] });
    await before.commands.execute(new OpenMany(1_000));
    bank = await startBank(place, { role: 'api', providers: [FromNow, FromTheBeginning], without: [LetterSaga], retired: { consumers: ['bank.letters'] } });
    const runtime = bank.app.get(ConsumerRuntime);
    const jobsOf = async (saga: string) => Number((await bank.rows<{ n: string }>(`SELECT COUNT(*) AS n FROM tandem_job WHERE dedupe_key LIKE '${saga}:%'`))[0]!.n);
    const catchUp = async () => {
      for (const consumer of bank.app.get(ConsumerRegistry).consumers) await runtime.catchUp(consumer);
    };
    await catchUp();
    expect([await jobsOf('spec.from-now'), await jobsOf('spec.from-the-beginning')]).toEqual([0, 1_000]);
    await before.commands.execute(new Open('one-more'));
    await catchUp();
    expect([await jobsOf('spec.from-now'), await jobsOf('spec.from-the-beginning')]).toEqual([1, 1_001]);
    await before.app.close();
  });
});
