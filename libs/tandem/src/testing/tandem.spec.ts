import { Injectable } from '@nestjs/common';
import { Command, CommandBus, CommandHandler, EventBus } from '@nestjs/cqrs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Bank, type BankOptions, type BankPlace, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { AccountView, Charge, Charged, Open, Opened } from '../../../../test/support/bank.js';
import { sqlBackends } from '../../../../test/support/backends.js';
import { ConsumerRuntime } from '../events/consumer-runtime.js';
import { ConsumerStore } from '../events/consumer-store.js';
import { On } from '../events/on.js';
import { JobStore } from '../jobs/job-store.js';
import { QueuedCommand } from '../jobs/queued-command.js';
import { isTandemError } from '../kernel/errors.js';
import { Projection } from '../read/projection/projection.js';
import { UnitOfWork } from '../write/command/unit-of-work.decorator.js';
import { DurableSaga } from '../write/saga/durable-saga.js';
import { tandem } from './tandem.js';

/** Holds back who waits at it until it is opened. */
class Gate {
  open!: () => void;
  readonly opened = new Promise<void>((resolve) => (this.open = resolve));
}

@Injectable()
class Gates {
  readonly job = new Gate();
  readonly command = new Gate();
  readonly projection = new Gate();
}

// No transaction is open while it waits: on PGlite nobody else could go on.
@QueuedCommand('idle.charge-later', { queue: 'idle', effect: 'external' })
class ChargeLater extends Command<void> {
  constructor(readonly accountId: string) {
    super();
  }
}
@CommandHandler(ChargeLater)
class ChargeLaterHandler {
  constructor(
    private readonly events: EventBus,
    private readonly gates: Gates,
  ) {}
  async execute({ accountId }: ChargeLater): Promise<void> {
    await this.gates.job.opened;
    await this.events.publish(new Charged(accountId, '1'));
  }
}
@DurableSaga('idle.saga')
class ChargingSaga {
  @On(Opened)
  opened({ accountId }: Opened) {
    return new ChargeLater(accountId);
  }
}

class OpenSlowly extends Command<void> {
  constructor(readonly accountId: string) {
    super();
  }
}
@CommandHandler(OpenSlowly)
@UnitOfWork('none')
class OpenSlowlyHandler {
  constructor(
    private readonly commands: CommandBus,
    private readonly gates: Gates,
  ) {}
  async execute({ accountId }: OpenSlowly): Promise<void> {
    await this.gates.command.opened;
    await this.commands.execute(new Open(accountId));
  }
}

@Projection('idle.stubborn', { version: 1 })
class StubbornProjection {
  constructor(private readonly gates: Gates) {}
  @On(Charged)
  async charged(): Promise<void> {
    await this.gates.projection.opened;
  }
}

describe.each(sqlBackends())('idle() on $name', (backend) => {
  let place: BankPlace;
  let bank: Bank;
  let gates: Gates;
  const start = async (options: BankOptions = {}): Promise<void> => {
    place = await bankPlace(backend);
    bank = await startBank(place, { ...options, providers: [Gates, ...(options.providers ?? [])] });
    gates = bank.app.get(Gates);
  };
  afterEach(async () => {
    for (const gate of [gates.job, gates.command, gates.projection]) gate.open();
    await bank.app.close();
    await place.remove();
  });
  const viewOf = (id: string) => bank.db.getRepository(AccountView).findOneBy({ id });
  const failure = (timeoutMs?: number) =>
    tandem(bank.app)
      .idle({ timeoutMs })
      .then(
        () => undefined,
        (error: unknown) => error as Error,
      );

  it('does not miss a job that publishes an event and ends between the look at consumers and the look at jobs', async () => {
    await start({ providers: [ChargeLaterHandler, ChargingSaga] });
    const jobs = bank.app.get(JobStore);
    const runtime = bank.app.get(ConsumerRuntime);
    const store = bank.app.get(ConsumerStore);
    const open = async () => (await jobs.counts()).filter(({ state }) => state === 'waiting' || state === 'running');
    await bank.commands.execute(new Open('a'));
    await vi.waitFor(async () => expect(await open()).toEqual([{ name: 'idle.charge-later', state: 'running', count: 1 }]), 20_000);
    await vi.waitFor(async () => expect((await store.status()).filter(({ lag }) => lag > 0)).toEqual([]), 20_000);

    // From here on no projection runs until idle() has looked a second time.
    const catchUp = vi.spyOn(runtime, 'catchUp').mockResolvedValue();
    const counts = jobs.counts.bind(jobs);
    vi.spyOn(jobs, 'counts').mockImplementationOnce(async () => {
      gates.job.open();
      for (;;) {
        const found = await counts();
        if (found.every(({ state }) => state === 'done')) return found;
      }
    });
    const second = vi.spyOn(jobs, 'counts');
    const status = store.status.bind(store);
    vi.spyOn(store, 'status').mockImplementation(() => {
      if (second.mock.calls.length > 0) catchUp.mockRestore();
      return status();
    });
    await bank.idle();
    expect((await viewOf('a'))?.charges).toBe(1);
  });

  it('waits for a command that was sent and not awaited', async () => {
    await start({ providers: [OpenSlowlyHandler] });
    const sent = bank.commands.execute(new OpenSlowly('a'));
    expect(await failure(50)).toMatchObject({ code: 'TANDEM_NOT_IDLE', message: expect.stringMatching(/^Still busy after 50 ms: 1 command is running\./) });
    const idle = bank.idle();
    gates.command.open();
    await idle;
    expect(await viewOf('a')).toMatchObject({ status: 'open' });
    await sent;
  });

  it('names at once what is parked or halted', async () => {
    await start({ consumerAttempts: 1 });
    bank.faults.poisonedView.add('a').add('b');
    await bank.commands.execute(new Open('a'));
    await bank.commands.execute(new Charge('a', '1'));
    await vi.waitFor(
      async () =>
        expect(await failure()).toMatchObject({ message: expect.stringMatching(/^Stuck: bank\.charged of account-a failed 1 times in bank\.account-view: .*poisoned a/) }),
      20_000,
    );

    bank.faults.poisonedTotals.add('b');
    await bank.commands.execute(new Open('b'));
    await vi.waitFor(async () => expect(await failure()).toMatchObject({ message: expect.stringContaining('bank.totals is halted') }), 20_000);
  });

  it('names a job that is parked', async () => {
    await start();
    bank.faults.poisonedLetters.add('a');
    await bank.commands.execute(new Open('a'));
    const error = await failure(20_000);
    expect(isTandemError(error, 'TANDEM_NOT_IDLE')).toBe(true);
    expect(error!.message).toMatch(/^Stuck: job \S+ \(bank\.send-letter\) failed 4 times: poisoned a/);
  });

  it('names what is still to be tried again when its time is up', async () => {
    await start({ consumerAttempts: 50, consumerBackoffMs: 600_000 });
    bank.faults.poisonedView.add('a');
    await bank.commands.execute(new Open('a'));
    await bank.commands.execute(new Charge('a', '1'));
    const held = /^Still busy after 50 ms: .*bank\.charged of account-a failed 1 times in bank\.account-view/;
    await vi.waitFor(async () => expect(await failure(50)).toMatchObject({ message: expect.stringMatching(held) }), 20_000);
  });

  it.runIf(backend.name !== 'pglite')('is not kept waiting by a projection that does not come to an end', async () => {
    await start({ providers: [StubbornProjection] });
    await bank.commands.execute(new Open('a'));
    await bank.commands.execute(new Charge('a', '1'));
    expect(await failure(1_000)).toMatchObject({ message: expect.stringMatching(/^Still busy after 1000 ms: .*idle\.stubborn is \d+ events behind/) });
    gates.projection.open();
    await bank.idle();
  });
});
