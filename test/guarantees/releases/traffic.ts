/** Commands and queries of one process, and what was wrong with their answers. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { CommandBus, QueryBus } from '@nestjs/cqrs';
import { Consistency } from 'nest-tandem';
import { GetTrail, LETTER_AMOUNT, Note, type Trail } from './release.js';

export interface Traffic {
  /** Of this process: its things are its own. */
  readonly name: string;
  /** That one note makes. */
  readonly events: 1 | 2;
  /** Default 3. */
  readonly lanes?: number;
  /** Every projection of the fleet is immediate: a query sees its caller's writes without asking for it. */
  readonly immediate?: boolean;
}

export interface TrafficReport {
  readonly commands: number;
  readonly wrong: readonly string[];
}

const SHARED = 40;
/** Between two commands of a lane: a deploy meets traffic, not a load test. */
const PAUSE_MS = 4;
/** Of a wait for the read side. */
const PATIENCE_MS = 120_000;

type Freshness = ReturnType<typeof Consistency.eventual>;

export class Writers {
  private readonly wrong: string[] = [];
  private readonly lanes: Promise<void>[];
  private commands = 0;
  private resting = false;

  constructor(
    private readonly app: INestApplicationContext,
    private readonly traffic: Traffic,
  ) {
    this.lanes = Array.from({ length: traffic.lanes ?? 3 }, (_, lane) => this.write(`${traffic.name}.${lane}`));
  }

  async rest(): Promise<TrafficReport> {
    this.resting = true;
    await Promise.all(this.lanes);
    return { commands: this.commands, wrong: this.wrong };
  }

  private async write(own: string): Promise<void> {
    for (let n = 0; !this.resting; n++) {
      try {
        await this.once(own, n);
        this.commands++;
      } catch (error) {
        const { cause } = error as Error;
        this.wrong.push(`${own}: ${String(error)}${cause instanceof Error ? `, since ${cause.message}` : ''}`);
        return;
      }
      await sleep(PAUSE_MS);
    }
  }

  /** Nobody else writes its own thing, so it is known what a query must see. */
  private async once(own: string, n: number): Promise<void> {
    const command = new Note([
      [own, n % 20],
      [`shared${(n * 7) % SHARED}`, LETTER_AMOUNT + 1],
    ]);
    const see = (how: string, consistency: Freshness) => this.see(own, { version: (n + 1) * this.traffic.events, how, consistency });
    const commands = this.app.get(CommandBus);
    const strong = Consistency.strong({ projections: ['roll.trails', 'roll.crowds'], deadlineMs: PATIENCE_MS });
    if (n % 10 === 3) {
      await commands.execute(command, strong);
      await see('after a strong command', Consistency.eventual());
    } else if (n % 10 === 6) {
      const answered = commands.execute(command, strong);
      await see('with a token', Consistency.readYourWrites(await strong.token, { deadlineMs: PATIENCE_MS }));
      await answered;
    } else {
      await commands.execute(command);
      if (this.traffic.immediate) await see('of an immediate projection', Consistency.eventual());
      else if (n % 10 === 9) await see('with a strong query', Consistency.strong({ deadlineMs: PATIENCE_MS }));
    }
  }

  private async see(own: string, { version, how, consistency }: { readonly version: number; readonly how: string; readonly consistency: Freshness }): Promise<void> {
    const row: Trail | null = await this.app.get(QueryBus).execute(new GetTrail(own), consistency);
    if (row?.version !== version) this.wrong.push(`${own}: a query ${how} saw version ${row?.version} instead of ${version}`);
  }
}
