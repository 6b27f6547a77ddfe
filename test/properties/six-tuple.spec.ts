/**
 * Any sequence of commands and queries gets the same answers from Tandem, on a real database, as from the six-tuple in
 * `cqrs-model.ts`: refused commands, commands at once, queries at every consistency level, under every sync strategy.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Logger } from '@nestjs/common';
import { Consistency, Consumers, SyncStrategy } from 'nest-tandem';
import { sqlBackends } from '../support/backends.js';
import { bankProviders, Faults } from '../support/bank.js';
import { type Bank, type BankPlace, bankPlace, startBank } from '../support/bank-application.js';
import { clubEntities, clubProviders, Do, messageOf, Refused } from './cqrs-application.js';
import { type Answer, type Command, deltaC, deltaQ, nobody, nothing, type Outcome, project, type Query, type ReadModel, type WriteModel } from './cqrs-model.js';

/** One of each kind that there is: a new kind does not compile until it stands here. */
const strategies: Readonly<Record<SyncStrategy['kind'], SyncStrategy>> = {
  immediate: SyncStrategy.immediate(),
  eventual: SyncStrategy.eventual(),
  batched: SyncStrategy.batched(5, { maxWaitMs: 60_000 }),
  scheduled: SyncStrategy.scheduled({ cron: '0 0 1 1 *' }),
};

type Step =
  | { readonly does: 'command'; readonly command: Command; readonly waits: boolean }
  | { readonly does: 'pair'; readonly commands: readonly [Command, Command] }
  /** A command, and queries with its token as soon as it has committed. */
  | { readonly does: 'own writes'; readonly command: Command; readonly queries: readonly Query[] }
  /** Commands while the projections are paused, which then have several events in one batch. */
  | { readonly does: 'backlog'; readonly commands: readonly Command[] }
  | { readonly does: 'ask'; readonly query: Query; readonly level: 'strong' | 'idle' | 'eventual' };

const IDS = ['a', 'b', 'c'];
const HANDLES = ['x', 'y', 'z'];
const TEAMS = ['red', 'blue'];
const id = fc.constantFrom(...IDS);
const handle = fc.constantFrom(...HANDLES);
const team = fc.constantFrom(...TEAMS);
const kind = <K extends string>(name: K) => fc.constant(name);

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: kind('join'), id, handle, team }) },
  { weight: 3, arbitrary: fc.record({ kind: kind('rename'), id, handle }) },
  { weight: 3, arbitrary: fc.record({ kind: kind('earn'), id, points: fc.integer({ min: -9, max: 99 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('move'), id, team }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('leave'), id }) },
);
const query: fc.Arbitrary<Query> = fc.oneof(fc.record({ kind: kind('member'), id }), fc.record({ kind: kind('who-has'), handle }), fc.record({ kind: kind('team'), team }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: kind('command'), command, waits: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ does: kind('pair'), commands: fc.tuple(command, command) }) },
  { weight: 3, arbitrary: fc.record({ does: kind('own writes'), command, queries: fc.array(query, { minLength: 1, maxLength: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ does: kind('backlog'), commands: fc.array(command, { minLength: 4, maxLength: 10 }) }) },
  { weight: 3, arbitrary: fc.record({ does: kind('ask'), query, level: fc.constantFrom('strong' as const, 'idle' as const, 'eventual' as const) }) },
);
const everything: readonly Query[] = [
  ...IDS.map((each): Query => ({ kind: 'member', id: each })),
  ...HANDLES.map((each): Query => ({ kind: 'who-has', handle: each })),
  ...TEAMS.map((each): Query => ({ kind: 'team', team: each })),
];

interface World {
  readonly write: WriteModel;
  readonly read: ReadModel;
}

const textOf = (value: unknown): string => JSON.stringify(value, (_key, each: unknown) => (each instanceof Map ? [...(each as Map<string, unknown>)].sort() : each));

/** The model beside the system. After commands at once it may be in either of two states, until an answer tells. */
class Model {
  private worlds: readonly World[] = [{ write: nobody, read: nothing }];
  /** Of every moment so far, for those who ask without waiting. */
  private readonly past: ReadModel[] = [nothing];

  /** The commands were done in one of these orders, with these outcomes. */
  advance(orders: readonly (readonly { readonly command: Command; readonly outcome: Outcome }[])[]): void {
    const next = this.worlds
      .flatMap((world) => orders.map((order) => order.reduce<World | undefined>((at, done) => at && this.after(at, done), world)))
      .filter((world) => world !== undefined);
    expect(next, `no order of the model has the outcomes ${textOf(orders[0])}`).not.toEqual([]);
    this.worlds = [...new Map(next.map((world) => [textOf(world), world])).values()];
  }

  /** The answer of what is now, and with it what may be now. */
  agree(asked: Query, answer: Answer): void {
    const agreeing = this.worlds.filter(({ read }) => textOf(deltaQ(read, asked)) === textOf(answer));
    expect(agreeing, `${textOf(asked)} was ${textOf(answer)}, expected ${textOf(this.worlds.map(({ read }) => deltaQ(read, asked)))}`).not.toEqual([]);
    this.worlds = agreeing;
  }

  /** An answer of now or before. */
  agreeWithPast(asked: Query, answer: Answer): void {
    expect(this.past.map((read) => textOf(deltaQ(read, asked)))).toContain(textOf(answer));
  }

  private after({ read, write }: World, { command: each, outcome }: { readonly command: Command; readonly outcome: Outcome }): World | undefined {
    const changed = deltaC(write, each);
    if (changed.outcome !== outcome) return undefined;
    const projected = changed.events.reduce(project, read);
    this.past.push(projected);
    return { write: changed.write, read: projected };
  }
}

const projections = ['club.members', 'club.handles', 'club.teams'];

/** The system, with names that no other run has, so that runs need not be cleaned up after. */
class System {
  private static runs = 0;
  private readonly prefix = `${++System.runs}-`;

  constructor(private readonly bank: Bank) {}

  async do(what: Command, context?: ReturnType<typeof Consistency.strong>): Promise<Outcome> {
    try {
      const message = new Do(this.own(what));
      await (context ? this.bank.commands.execute(message, context) : this.bank.commands.execute(message));
      return 'done';
    } catch (error) {
      if (error instanceof Refused) return error.reason;
      const { code } = (error as { driverError?: { code?: unknown } }).driverError ?? {};
      if (code === '23505' || code === 'ER_DUP_ENTRY') return 'taken';
      throw error;
    }
  }

  async ask(what: Query, context = Consistency.eventual()): Promise<Answer> {
    const answer: Answer = await this.bank.queries.execute(messageOf(this.own(what)), context);
    return JSON.parse(JSON.stringify(answer).replaceAll(`"${this.prefix}`, '"')) as Answer;
  }

  idle = () => this.bank.idle();
  pause = () => Promise.all(projections.map((name) => this.consumers.pause(name, 'for a backlog')));
  resume = () => Promise.all(projections.map((name) => this.consumers.resume(name)));

  private get consumers(): Consumers {
    return this.bank.app.get(Consumers);
  }

  private own<T extends Command | Query>(what: T): T {
    const named = Object.entries(what).map(([name, value]) => [name, name === 'kind' || typeof value !== 'string' ? value : this.prefix + value]);
    return Object.fromEntries(named) as T;
  }
}

async function take(each: Step, { isImmediate, model, system }: { readonly isImmediate: boolean; readonly model: Model; readonly system: System }): Promise<void> {
  switch (each.does) {
    case 'command':
      return model.advance([[{ command: each.command, outcome: await system.do(each.command, each.waits ? Consistency.strong() : undefined) }]]);
    case 'pair': {
      const [first, second] = await Promise.all(each.commands.map(async (what) => ({ command: what, outcome: await system.do(what) })));
      return model.advance([
        [first!, second!],
        [second!, first!],
      ]);
    }
    case 'backlog': {
      await system.pause();
      for (const what of each.commands) model.advance([[{ command: what, outcome: await system.do(what) }]]);
      await system.resume();
      // What commands did not fold meanwhile, a worker does; or the next command, for its own shards.
      return isImmediate ? system.idle() : undefined;
    }
    case 'own writes': {
      const strong = Consistency.strong();
      const doing = system.do(each.command, strong);
      const token = await strong.token.catch(() => undefined);
      // Not done yet for those who wait for the projections: the token is there before.
      const answers = token === undefined ? [] : await Promise.all(each.queries.map((asked) => system.ask(asked, Consistency.readYourWrites(token))));
      model.advance([[{ command: each.command, outcome: await doing }]]);
      return answers.forEach((answer, index) => model.agree(each.queries[index]!, answer));
    }
    case 'ask': {
      if (each.level === 'idle') await system.idle();
      const answer = await system.ask(each.query, each.level === 'strong' ? Consistency.strong() : Consistency.eventual());
      return each.level === 'eventual' && !isImmediate ? model.agreeWithPast(each.query, answer) : model.agree(each.query, answer);
    }
  }
}

const cases = sqlBackends().flatMap((backend) => Object.values(strategies).map((sync) => ({ backend, sync, name: `${backend.name}, ${sync.kind}` })));

describe.each(cases)('the six-tuple on $name', ({ backend, sync }) => {
  let place: BankPlace;
  let bank: Bank;

  beforeAll(async () => {
    place = await bankPlace(backend);
    bank = await startBank(place, { without: bankProviders.filter((each) => each !== Faults), providers: [...clubProviders(sync)], entities: clubEntities, reconcileEveryMs: 100 });
    // Each pause is a warning.
    Logger.overrideLogger(['error']);
  });
  afterAll(async () => {
    await bank?.app.close();
    await place?.remove();
  });

  it('gives the same answers as the model, whatever is done and asked in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 25, size: 'max' }), async (steps) => {
        const model = new Model();
        const system = new System(bank);
        for (const each of steps) await take(each, { isImmediate: sync.kind === 'immediate', model, system });
        await system.idle();
        for (const asked of everything) model.agree(asked, await system.ask(asked));
      }),
      // Not shrunk: after a failure the application may be stuck, and a shorter run would fail of that.
      { numRuns: 8, endOnFailure: true, interruptAfterTimeLimit: 60_000 },
    );
  });
});
