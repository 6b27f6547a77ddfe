/** An operator who has one projection after the other rebuilt, under traffic and whatever else happens. */
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dice } from '../support/dice.js';
import { ask } from './ask.js';
import type { Fleet } from './fleet.js';

const PAUSE_MS = 5_000;
/** Times that blocked ones are looked for, at most. */
const AGAIN = 10;
/** Those of one row a stream, and of sums. Rows of poisoned streams could not be made anew without an operator's word. */
const REBUILT = "SELECT name FROM tandem_consumer WHERE name LIKE 'fault.trail-%' OR name LIKE 'fault.total-%' ORDER BY name";

export class Rebuilds {
  private readonly agent = new Agent();
  private readonly stopping = new AbortController();
  private loop: Promise<void> = Promise.resolve();
  asked = 0;

  constructor(
    private readonly fleet: Fleet,
    private readonly dice: Dice,
  ) {}

  start(): void {
    this.loop = this.keepAsking();
  }

  /** Those that an error has blocked are for an operator to begin again: then they go on. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.loop;
    for (let tries = 0; tries < AGAIN && (await this.beginAgain()); tries++) await sleep(PAUSE_MS);
    this.agent.destroy();
  }

  private async beginAgain(): Promise<boolean> {
    const blocked = await this.fleet.sql<{ name: string }>("SELECT consumer AS name FROM tandem_rebuild WHERE state = 'blocked'");
    for (const { name } of blocked) await ask(this.agent, this.dice.pick(this.fleet.ports), { path: '/rebuild', body: { name } });
    return blocked.length > 0;
  }

  /** How many have taken the place of what was there. */
  async swapped(): Promise<number> {
    const [row] = await this.fleet.sql<{ n: number | string }>('SELECT SUM(live_generation - 1) AS n FROM tandem_consumer');
    return Number(row!.n);
  }

  private async keepAsking(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      await sleep(PAUSE_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      // Where nobody is there to answer, the next one is asked.
      if (await this.begin().catch(() => false)) this.asked++;
    }
  }

  private async begin(): Promise<boolean> {
    const names = await this.fleet.sql<{ name: string }>(REBUILT);
    const { name } = this.dice.pick(names);
    return (await ask(this.agent, this.dice.pick(this.fleet.ports), { path: '/rebuild', body: { name } })).ok;
  }
}
