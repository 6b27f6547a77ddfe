/** Users that send commands to the APIs, one after the other each, and note every answer. */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Dice } from '../support/dice.js';
import { type Answer, type Asked, eventsOf, type Poison } from './asked.js';
import { type Entry, type Ledger } from './ledger.js';

export const ACCOUNTS = 1_000;
const USERS = 20;
/** A user waits at most this long between two commands. */
const THINK_MS = 60;
const ANSWER_WITHIN_MS = 30_000;
const PAUSE_AFTER_FAILURE_MS = 250;
/** Of a hundred: commands over many streams, whose append goes statement by statement, and those with many events in few streams. */
const BULK = 2;
const BULK_SIZE = { accounts: 12, moves: 60 };
const BURST = 5;
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
  private running = false;
  private users: Promise<unknown> = Promise.resolve();
  private next = 0;

  constructor(
    private readonly ports: readonly number[],
    private readonly ledger: Ledger,
    private readonly seed: number,
  ) {}

  start(): void {
    this.running = true;
    this.users = Promise.all(Array.from({ length: USERS }, (_, user) => this.user(new Dice(this.seed + user))));
  }

  /** Resolves when every command is answered, or given up. */
  async stop(): Promise<void> {
    this.running = false;
    await this.users;
    this.agent.destroy();
  }

  private async user(dice: Dice): Promise<void> {
    while (this.running) {
      const entry = this.ledger.ask(this.asked(dice));
      await this.send(entry, dice.pick(this.ports));
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
    const id = `c${++this.next}`;
    const poison = (): Poison => (dice.percent(POISONED) ? 'event' : dice.percent(POISONED) ? 'job' : 'none');
    const roll = dice.below(100);
    if (roll < PLACED || this.orders.length === 0) return { kind: 'place', id, order: `o${this.next}`, poison: poison() };
    if (roll < PLACED + CHANGES) return { kind: 'change', id, order: dice.pick(this.orders), poison: dice.percent(POISONED) ? 'event' : 'none' };
    if (roll >= 100 - BULK) return { kind: 'move', id, job: false, moves: movesOf(dice, BULK_SIZE) };
    if (roll >= 100 - BULK - BURST) return { kind: 'move', id, job: false, moves: movesOf(dice, BURST_SIZE) };
    const [from, to] = [dice.below(ACCOUNTS), dice.below(ACCOUNTS)];
    const amount = 1 + dice.below(100);
    const moves = [
      { account: accountId(from), amount: -amount },
      { account: accountId(to), amount },
    ];
    return { kind: 'move', id, job: dice.percent(WITH_JOB), moves };
  }

  private async send(entry: Entry, port: number): Promise<void> {
    try {
      const answer = await this.post(port, entry.asked);
      if (answer.ok) this.ledger.settle(entry, 'acknowledged');
      else this.ledger.settle(entry, UNKNOWN_CODES.includes(answer.code) ? 'unknown' : 'refused', answer.code);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // Nobody was there to take it.
      this.ledger.settle(entry, code === 'ECONNREFUSED' ? 'refused' : 'unknown', code ?? message);
    }
  }

  private post(port: number, asked: Asked): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const body = JSON.stringify(asked);
      const options = { port, host: '127.0.0.1', path: '/command', method: 'POST', agent: this.agent, headers: { 'content-type': 'application/json' }, timeout: ANSWER_WITHIN_MS };
      const sent = request(options, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('error', reject).on('end', () => {
          try {
            resolve(JSON.parse(text) as Answer);
          } catch (error) {
            reject(error as Error);
          }
        });
      });
      sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
      sent.on('error', reject);
      sent.end(body);
    });
  }
}

function movesOf(dice: Dice, { accounts, moves }: { accounts: number; moves: number }): { account: string; amount: number }[] {
  const first = dice.below(ACCOUNTS);
  const amounts = Array.from({ length: moves / 2 }, () => 1 + dice.below(100));
  return [...amounts, ...amounts.map((amount) => -amount)].map((amount, index) => ({ account: accountId((first + (index % accounts)) % ACCOUNTS), amount }));
}
