/** Users that send commands to the APIs, one after the other each, and note every answer. */
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Dice } from '../support/dice.js';
import { ask } from './ask.js';
import { type Asked, eventsOf, type Poison } from './asked.js';
import type { Entry, Ledger, Told } from './ledger.js';

export const ACCOUNTS = 1_000;
const USERS = 20;
/** A user waits at most this long between two commands. */
const THINK_MS = 60;
const PAUSE_AFTER_FAILURE_MS = 250;
/** Of a command with an id, at most. */
const REPEATS = 40;
/** Of a hundred. */
const WITH_ID = 50;
/** Users wait for the clock when they have made more than this on average: what is compared at the end has to fit into memory. */
const EVENTS_PER_SECOND = 250;
/** Of a hundred: commands over many streams, whose append goes statement by statement, and those with many events in few streams. */
const BULK = 2;
const BULK_SIZE = { accounts: 12, moves: 60 };
const BURST = 8;
const BURST_SIZE = { accounts: 2, moves: 40 };
const POISONED = 1;
const CHANGES = 25;
const PLACED = 15;
const WITH_JOB = 15;
/** Orders that are still changed. */
const OPEN_ORDERS = 40;

/** The database may be back in the state from before them, or not: nobody can tell. */
const UNKNOWN_CODES: readonly string[] = ['TANDEM_COMMIT_UNKNOWN'];

export const accountId = (index: number): string => `a${index}`;

export class Load {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 64 });
  private readonly orders: string[] = [];
  private readonly began = performance.now();
  private running = false;
  private poisoned = 0;
  private users: Promise<unknown> = Promise.resolve();
  private next = 0;

  constructor(
    private readonly ports: readonly number[],
    private readonly ledger: Ledger,
    private readonly seed: number,
  ) {}

  /** @param poisoned how many of a hundred */
  start(poisoned = POISONED): void {
    this.running = true;
    this.poisoned = poisoned;
    this.users = Promise.all(Array.from({ length: USERS }, (_, user) => this.user(new Dice(this.seed + user))));
  }

  /** Resolves when every command is answered, or given up. */
  async stop(): Promise<void> {
    this.running = false;
    await this.users;
    this.agent.destroy(); // idle connections alone: it makes new ones when it is asked
  }

  private async user(dice: Dice): Promise<void> {
    while (this.running) {
      if (this.ledger.acknowledgedEvents > ((performance.now() - this.began) / 1_000) * EVENTS_PER_SECOND) {
        await sleep(PAUSE_AFTER_FAILURE_MS);
        continue;
      }
      const entry = this.ledger.ask(this.asked(dice));
      await this.send(entry, dice);
      if (entry.told === 'acknowledged') this.acknowledged(entry.asked);
      await sleep(entry.told === 'acknowledged' || entry.reason === 'TANDEM_CONCURRENCY_CONFLICT' ? dice.below(THINK_MS) : PAUSE_AFTER_FAILURE_MS);
    }
  }

  private acknowledged(asked: Asked): void {
    this.ledger.acknowledgedEvents += eventsOf(asked);
    if (asked.kind !== 'place') return;
    this.orders.push(asked.order);
    if (this.orders.length > OPEN_ORDERS) this.orders.shift();
  }

  private asked(dice: Dice): Asked {
    const common = { id: `c${++this.next}`, repeatable: dice.percent(WITH_ID) };
    const poison = (): Poison => (dice.percent(this.poisoned) ? 'event' : dice.percent(this.poisoned) ? 'job' : 'none');
    const roll = dice.below(100);
    if (roll < PLACED || this.orders.length === 0) return { kind: 'place', ...common, order: `o${this.next}`, poison: poison() };
    if (roll < PLACED + CHANGES) return { kind: 'change', ...common, order: dice.pick(this.orders), poison: dice.percent(this.poisoned) ? 'event' : 'none' };
    if (roll >= 100 - BULK) return { kind: 'move', ...common, job: false, moves: movesOf(dice, BULK_SIZE) };
    if (roll >= 100 - BULK - BURST) return { kind: 'move', ...common, job: false, moves: movesOf(dice, BURST_SIZE) };
    const [from, to] = [dice.below(ACCOUNTS), dice.below(ACCOUNTS)];
    const amount = 1 + dice.below(100);
    const moves = [
      { account: accountId(from), amount: -amount },
      { account: accountId(to), amount },
    ];
    return { kind: 'move', ...common, job: dice.percent(WITH_JOB), moves };
  }

  /** What has an id is sent again until the outcome is known, to any API. */
  private async send(entry: Entry, dice: Dice): Promise<void> {
    const first = await this.sendOnce(entry.asked, dice);
    let { told } = first;
    for (let tries = 1; told === 'unknown' && entry.asked.repeatable && tries < REPEATS; tries++) {
      await sleep(PAUSE_AFTER_FAILURE_MS);
      // Refused: this try has done nothing, and of those before it is still not known.
      if ((await this.sendOnce(entry.asked, dice)).told === 'acknowledged') told = 'acknowledged';
    }
    if (told !== first.told) this.ledger.repeated++;
    this.ledger.settle(entry, told, first.reason);
  }

  private async sendOnce(asked: Asked, dice: Dice): Promise<{ told: Told; reason?: string }> {
    try {
      const answer = await ask(this.agent, dice.pick(this.ports), { path: '/command', body: asked, id: asked.repeatable ? asked.id : undefined });
      if (answer.ok) return { told: 'acknowledged' };
      const reason = answer.code.startsWith('TANDEM_') ? answer.code : `${answer.code}: ${answer.message.slice(0, 100).replaceAll(/\d+/g, 'n')}`;
      return { told: UNKNOWN_CODES.includes(answer.code) ? 'unknown' : 'refused', reason };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // Nobody was there to take it.
      return { told: code === 'ECONNREFUSED' ? 'refused' : 'unknown', reason: code ?? message };
    }
  }
}

function movesOf(dice: Dice, { accounts, moves }: { accounts: number; moves: number }): { account: string; amount: number }[] {
  const first = dice.below(ACCOUNTS);
  const amounts = Array.from({ length: moves / 2 }, () => 1 + dice.below(100));
  return [...amounts, ...amounts.map((amount) => -amount)].map((amount, index) => ({ account: accountId((first + (index % accounts)) % ACCOUNTS), amount }));
}
