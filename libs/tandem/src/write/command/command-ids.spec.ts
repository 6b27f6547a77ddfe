/** Commands that are sent with an id, on every database: one effect, one answer. */
import { Command, CommandBus, CommandHandler, EventBus } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { Big } from 'big.js';
import { Column, Entity, PrimaryColumn, type Repository } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../../test/support/bank-application.js';
import { Account, Charge, Open } from '../../../../../test/support/bank.js';
import { sqlBackends } from '../../../../../test/support/backends.js';
import { Consistency } from '../../consistency/consistency.js';
import { DomainEvent } from '../../events/domain-event.js';
import { currentMessage, nextMessage, runWithMessage } from '../../kernel/message-context.js';
import { Idempotency } from './command-id.js';
import { CommandStore } from './command-store.js';
import { UnitOfWork } from './unit-of-work.decorator.js';

@DomainEvent('spec.stamped', { version: 1, stream: (e) => ['stamp', e.stampId] })
class Stamped {
  constructor(readonly stampId: string) {}
}

@Entity('spec_stamp')
class Stamp {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('int') count!: number;
}

interface Receipt {
  readonly count: number;
  readonly at: Date;
  readonly total: Big;
  readonly number: bigint;
}

type Doing = 'answer' | 'throw' | 'throw once' | 'catch an SQL error' | 'answer nothing' | 'answer too much' | 'answer a class';

class StampIt extends Command<Receipt | undefined> {
  constructor(
    readonly id: string,
    readonly doing: Doing = 'answer',
    readonly amount = 1,
  ) {
    super();
  }
}
class StampOther extends Command<void> {
  constructor(readonly id: string) {
    super();
  }
}
class Unprotected extends Command<void> {}
class Secretive extends Command<void> {
  readonly #secret: string;
  constructor(secret: string) {
    super();
    this.#secret = secret;
  }
  get length(): number {
    return this.#secret.length;
  }
}
/** Sends commands of its own, each with an id. */
class StampAll extends Command<readonly unknown[]> {
  constructor(readonly parts: readonly { readonly key: string; readonly id: string; readonly doing?: Doing }[]) {
    super();
  }
}

let runs = 0;
let keys: (string | undefined)[] = [];
let failures = 0;

@CommandHandler(StampIt)
class StampItHandler {
  constructor(
    @InjectRepository(Stamp) private readonly stamps: Repository<Stamp>,
    private readonly events: EventBus,
  ) {}
  async execute({ id, doing, amount }: StampIt): Promise<unknown> {
    runs++;
    keys.push(currentMessage()?.idempotencyKey);
    const { count } = (await this.stamps.findOneBy({ id })) ?? { count: 0 };
    await this.stamps.save({ id, count: count + amount });
    this.events.publish(new Stamped(id));
    if (doing === 'throw' || (doing === 'throw once' && failures++ === 0)) throw new Error('changed its mind');
    if (doing === 'catch an SQL error') await this.stamps.insert({ id, count: 0 }).catch(() => undefined);
    if (doing === 'answer nothing') return undefined;
    if (doing === 'answer too much') return 'x'.repeat(300_000);
    if (doing === 'answer a class') return new Account();
    return { count: count + amount, at: new Date(1_700_000_000_123), total: new Big('0.10'), number: 2n ** 70n } satisfies Receipt;
  }
}
@CommandHandler(StampOther)
class StampOtherHandler {
  constructor(@InjectRepository(Stamp) private readonly stamps: Repository<Stamp>) {}
  /** Publishes nothing. */
  async execute({ id }: StampOther): Promise<void> {
    runs++;
    await this.stamps.insert({ id, count: 1 });
  }
}
@CommandHandler(Unprotected)
@UnitOfWork('none')
class UnprotectedHandler {
  async execute(): Promise<void> {
    runs++;
  }
}
@CommandHandler(Secretive)
class SecretiveHandler {
  async execute(): Promise<void> {
    runs++;
  }
}
@CommandHandler(StampAll)
class StampAllHandler {
  constructor(private readonly commands: CommandBus) {}
  async execute({ parts }: StampAll): Promise<readonly unknown[]> {
    const answers: unknown[] = [];
    for (const { doing, id, key } of parts) answers.push(await this.commands.execute(new StampIt(id, doing), Idempotency.key(key)).catch((error: unknown) => String(error)));
    return answers;
  }
}

const handlers = [StampItHandler, StampOtherHandler, UnprotectedHandler, SecretiveHandler, StampAllHandler];

describe.each(sqlBackends())('a command with an id on $name', { timeout: 60_000 }, (backend) => {
  let place: BankPlace;
  let bank: Bank;
  let next = 0;
  const fresh = (): string => `k-${++next}`;

  beforeAll(async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { providers: handlers, entities: [Stamp] });
  }, 120_000);
  afterAll(async () => {
    await bank.app.close();
    await place.remove();
  });

  const events = async (stream: string): Promise<number> => Number((await bank.rows<{ n: string }>(`SELECT COUNT(*) AS n FROM tandem_event WHERE stream = '${stream}'`))[0]!.n);
  const count = async (id: string): Promise<number | undefined> => (await bank.db.getRepository(Stamp).findOneBy({ id }))?.count;
  const records = async (id: string) => bank.rows<{ name: string; result: string }>(`SELECT name, result FROM tandem_command WHERE command_id = '${id}'`);
  const as = <T>(who: { actor?: string; tenant?: string }, work: () => Promise<T>): Promise<T> => runWithMessage(nextMessage(who), work);

  it('has its effect once, and answers a repeat as it answered first', async () => {
    const [key, before] = [fresh(), runs];
    const first = await bank.commands.execute(new StampIt('a'), Idempotency.key(key));
    const second = await bank.commands.execute(new StampIt('a'), Idempotency.key(key));
    expect(second).toEqual(first);
    expect(second).toEqual({ count: 1, at: new Date(1_700_000_000_123), total: new Big('0.10'), number: 2n ** 70n });
    expect([runs - before, await count('a'), await events('stamp-a')]).toEqual([1, 1, 1]);
    await bank.commands.execute(new StampIt('a'), Idempotency.key(fresh()));
    expect(await count('a')).toBe(2);
  });

  it('keeps what it answered with what it wrote, also where it published nothing or answered nothing', async () => {
    const [quiet, silent] = [fresh(), fresh()];
    for (let i = 0; i < 2; i++) {
      expect(await bank.commands.execute(new StampOther('quiet'), Idempotency.key(quiet))).toBeUndefined();
      expect(await bank.commands.execute(new StampIt('silent', 'answer nothing'), Idempotency.key(silent))).toBeUndefined();
    }
    expect([await count('quiet'), await count('silent'), await events('stamp-silent')]).toEqual([1, 1, 1]);
    expect(await records(quiet)).toEqual([{ name: 'StampOther', result: '{}' }]);
  });

  it('gives a repeat the token of the first, whatever was written since', async () => {
    const key = fresh();
    const tokens: string[] = [];
    for (let i = 0; i < 2; i++) {
      const strong = Consistency.strong({ projections: ['bank.account-view'] });
      await bank.commands.execute(new StampIt('token'), Idempotency.key(key, strong));
      tokens.push(await strong.token);
      await bank.commands.execute(new StampIt('token'));
    }
    expect(tokens[1]).toBe(tokens[0]);
    const strong = Consistency.strong({ projections: ['bank.account-view'] });
    await bank.commands.execute(new StampIt('token'), strong);
    expect(await strong.token).not.toBe(tokens[0]);
  });

  it('is refused when it has other content, or is another command', async () => {
    const key = fresh();
    await bank.commands.execute(new StampIt('content'), Idempotency.key(key));
    const other = bank.commands.execute(new StampIt('content', 'answer', 2), Idempotency.key(key));
    await expect(other).rejects.toMatchObject({ code: 'TANDEM_COMMAND_ID_CONFLICT', message: expect.stringContaining('with other content') });
    const another = bank.commands.execute(new StampOther('content'), Idempotency.key(key));
    await expect(another).rejects.toMatchObject({
      code: 'TANDEM_COMMAND_ID_CONFLICT',
      message: expect.stringContaining('for StampIt'),
      data: { commandId: key, before: 'StampIt' },
    });
    expect([await count('content'), await events('stamp-content')]).toEqual([1, 1]);
  });

  it('is one of its tenant and actor: others use the same id for their own', async () => {
    const key = fresh();
    const callers = [{}, { tenant: 'acme' }, { tenant: 'acme', actor: 'ann' }, { tenant: 'acme', actor: 'bob' }, { actor: 'ann' }];
    for (const who of callers) await as(who, () => bank.commands.execute(new StampIt('scope'), Idempotency.key(key)));
    expect(await count('scope')).toBe(callers.length);
    for (const [i, who] of callers.entries()) expect(await as(who, () => bank.commands.execute(new StampIt('scope'), Idempotency.key(key)))).toMatchObject({ count: i + 1 });
    expect(await count('scope')).toBe(callers.length);
  });

  it("gives its handler a key for the outside world, the same in every repeat that runs and nobody else's", async () => {
    const [first, second] = [fresh(), fresh()];
    failures = 0;
    keys = [];
    await expect(bank.commands.execute(new StampIt('key', 'throw once'), Idempotency.key(first))).rejects.toThrow('changed its mind');
    await bank.commands.execute(new StampIt('key', 'throw once'), Idempotency.key(first));
    await bank.commands.execute(new StampIt('key'), Idempotency.key(second));
    await as({ actor: 'ann' }, () => bank.commands.execute(new StampIt('key'), Idempotency.key(second)));
    expect(keys[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(keys[1]).toBe(keys[0]);
    expect(new Set(keys).size).toBe(3);
  });

  it('remembers no error: the same id runs again', async () => {
    const key = fresh();
    failures = 0;
    const before = runs;
    await expect(bank.commands.execute(new StampIt('error', 'throw once'), Idempotency.key(key))).rejects.toThrow('changed its mind');
    expect([await count('error'), await records(key)]).toEqual([undefined, []]);
    for (let i = 0; i < 2; i++) expect(await bank.commands.execute(new StampIt('error', 'throw once'), Idempotency.key(key))).toMatchObject({ count: 1 });
    expect(runs - before).toBe(2);
  });

  it('is remembered no more than its writes are, when its handler caught the error that doomed them', async () => {
    const key = fresh();
    const doomed = bank.commands.execute(new StampIt('doomed', 'catch an SQL error'), Idempotency.key(key));
    if (backend.dialect === 'mysql') await doomed;
    else await expect(doomed).rejects.toMatchObject({ code: 'TANDEM_UNIT_OF_WORK_DOOMED' });
    // MySQL undoes the statement alone.
    const expected = backend.dialect === 'mysql' ? 1 : 0;
    expect([(await count('doomed')) ?? 0, (await records(key)).length, await events('stamp-doomed')]).toEqual([expected, expected, expected]);
  });

  it.each([
    ['is too large', 'answer too much'],
    ['would not come back as it was', 'answer a class'],
  ] as const)('fails, and leaves nothing, when its result %s', async (_what, doing) => {
    const key = fresh();
    const failing = bank.commands.execute(new StampIt('unkept', doing), Idempotency.key(key));
    await expect(failing).rejects.toMatchObject({ code: 'TANDEM_PAYLOAD_REFUSED', message: expect.stringContaining('the result of StampIt') });
    expect([await count('unkept'), await records(key)]).toEqual([undefined, []]);
    await expect(bank.commands.execute(new StampIt(`free-${next}`, doing))).resolves.toBeDefined();
  });

  it('is refused where no unit of work could keep the id, before its handler runs', async () => {
    const before = runs;
    await expect(bank.commands.execute(new Unprotected(), Idempotency.key(fresh()))).rejects.toMatchObject({
      code: 'TANDEM_COMMAND_ID_REFUSED',
      message: expect.stringContaining('Unprotected'),
    });
    await expect(bank.commands.execute(new Secretive('s'), Idempotency.key(fresh()))).rejects.toMatchObject({ code: 'TANDEM_PAYLOAD_REFUSED' });
    expect(runs).toBe(before);
    await bank.commands.execute(new Unprotected());
    await bank.commands.execute(new Secretive('s'));
    expect(runs).toBe(before + 2);
  });

  it.each(['', ' a', 'a b', '-a', "a'", 'a\n', 'ä', 'a'.repeat(129), 17])('is refused with the id %j', (id) => {
    expect(() => Idempotency.key(id as string)).toThrow(expect.objectContaining({ code: 'TANDEM_COMMAND_ID_INVALID' }));
  });

  it('takes the longest id, and a class name of any length', async () => {
    const key = 'a'.repeat(128);
    const { [`L${'o'.repeat(200)}ng`]: Long } = { [`L${'o'.repeat(200)}ng`]: class extends StampIt {} };
    for (let i = 0; i < 2; i++) expect(await bank.commands.execute(new Long!('long'), Idempotency.key(key))).toMatchObject({ count: 1 });
  });

  it('waits for the same one that is being handled, and answers as that did: 20 at once', async () => {
    const [key, before] = [fresh(), runs];
    const answers = await Promise.all(Array.from({ length: 20 }, () => bank.commands.execute(new StampIt('many'), Idempotency.key(key))));
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect([runs - before, await count('many'), await events('stamp-many')]).toEqual([1, 1, 1]);
  });

  it('runs when the same one that it waited for was rolled back: 20 at once', async () => {
    const [key, before] = [fresh(), runs];
    failures = 0;
    const sent = Array.from({ length: 20 }, () => bank.commands.execute(new StampIt('again', 'throw once'), Idempotency.key(key)));
    const settled = await Promise.allSettled(sent);
    expect(settled.filter(({ status }) => status === 'rejected').map((result) => String((result as PromiseRejectedResult).reason))).toEqual(['Error: changed its mind']);
    for (const result of settled) if (result.status === 'fulfilled') expect(result.value).toMatchObject({ count: 1 });
    expect([runs - before, await count('again'), await events('stamp-again')]).toEqual([2, 1, 1]);
  });

  it('is part of the unit of work that it is sent in', async () => {
    const [a, b, c] = [fresh(), fresh(), fresh()];
    const all = new StampAll([
      { key: a, id: 'part-a' },
      { key: a, id: 'part-a' },
      { key: b, id: 'part-b', doing: 'throw' },
      { key: c, id: 'part-c' },
    ]);
    const outer = fresh();
    const answers = await bank.commands.execute(all, Idempotency.key(outer));
    expect(answers).toMatchObject([{ count: 1 }, { count: 1 }, 'Error: changed its mind', { count: 1 }]);
    expect(await bank.commands.execute(all, Idempotency.key(outer))).toEqual(answers);
    expect(await bank.commands.execute(new StampIt('part-a'), Idempotency.key(a))).toMatchObject({ count: 1 });
    expect([await records(b), await count('part-a'), await count('part-b')]).toEqual([[], 1, undefined]);
    // The id of the one that failed is free; those beside it are not.
    await bank.commands.execute(new StampIt('part-b'), Idempotency.key(b));
    await expect(bank.commands.execute(new StampIt('part-x'), Idempotency.key(c))).rejects.toMatchObject({ code: 'TANDEM_COMMAND_ID_CONFLICT' });
  });

  it('is refused under the id of the one that sends it, which would wait for itself', async () => {
    const key = fresh();
    const all = new StampAll([{ key, id: 'itself' }]);
    expect(await bank.commands.execute(all, Idempotency.key(key))).toEqual([expect.stringContaining('was used before for StampAll')]);
  });

  it('is forgotten when its time is up, and not before', async () => {
    const store = bank.app.get(CommandStore);
    const key = fresh();
    await bank.commands.execute(new StampIt('kept'), Idempotency.key(key));
    await bank.rows(
      `INSERT INTO tandem_command (scope, command_id, name, fingerprint, created_at) ${Array.from({ length: 1_200 }, (_, i) => `SELECT 's', 'old-${i}', 'Old', 'f', ${backend.dialect === 'mysql' ? "'2020-01-01'" : "timestamptz '2020-01-01'"}`).join(' UNION ALL ')}`,
    );
    expect(await store.sweep(60 * 60 * 1_000)).toBe(1_200);
    await bank.commands.execute(new StampIt('kept'), Idempotency.key(key));
    expect(await count('kept')).toBe(1);
    expect(await store.sweep(0)).toBeGreaterThan(0);
    await bank.commands.execute(new StampIt('kept'), Idempotency.key(key));
    expect(await count('kept')).toBe(2);
  });

  it('leaves others their own way: commands without an id have no record', async () => {
    const [{ n: before }] = (await bank.rows<{ n: string }>('SELECT COUNT(*) AS n FROM tandem_command')) as [{ n: string }];
    await bank.commands.execute(new Open('plain'));
    await bank.commands.execute(new Charge('plain', '1'));
    expect(await bank.rows('SELECT COUNT(*) AS n FROM tandem_command')).toEqual([{ n: before }]);
  });
});
