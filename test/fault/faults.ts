/** Lets the faults of a plan happen, several at a time but one to each process, and counts them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dice } from '../support/dice.js';
import type { Fleet } from './fleet.js';
import type { Place } from './place.js';
import { type Fault, nameOf } from './plan.js';

/** Longer than every lease, and than what makes a database forget a session. */
const STOPPED_MS = 6_000;
const ARMED_MS = 10_000;
const AWAY_MS = { least: 500, most: 5_000 };
const DELAYED_MS = 3_000;
const PAUSE_MS = { least: 1_000, most: 4_000 };
const LOOK_EVERY_MS = 100;

export class Faults {
  /** Name → how often it happened. */
  readonly counts = new Map<string, number>();
  /** Failpoints that nothing came by while they were armed. */
  missed = 0;
  private readonly underWay = new Set<Promise<void>>();
  private serverBusy = false;

  constructor(
    private readonly fleet: Fleet,
    private readonly plan: Iterator<Fault>,
    private readonly dice: Dice,
  ) {}

  async until(deadline: number, signal?: AbortSignal): Promise<void> {
    const again: Fault[] = [];
    while (Date.now() < deadline && !signal?.aborted) {
      const fault = (this.dice.percent(30) ? again.shift() : undefined) ?? (this.plan.next().value as Fault);
      const happening = this.begin(fault);
      if (happening) {
        const run = happening.then((happened) => {
          if (happened) this.counts.set(nameOf(fault), (this.counts.get(nameOf(fault)) ?? 0) + 1);
          else if (again.push(fault)) this.missed++;
          this.underWay.delete(run);
        });
        this.underWay.add(run);
        await sleep(PAUSE_MS.least + this.dice.below(PAUSE_MS.most - PAUSE_MS.least));
      } else {
        again.push(fault);
        await sleep(LOOK_EVERY_MS);
      }
    }
    await Promise.all(this.underWay);
    this.fleet.heal();
  }

  /** Undefined when nobody is free for it. */
  private begin(fault: Fault): Promise<boolean> | undefined {
    if (fault.kind === 'server') return this.serverBusy ? undefined : this.onServer(fault);
    const place = this.fleet.free(fault.kind === 'failpoint' ? fault.point.role : fault.role, this.dice);
    if (!place) return undefined;
    place.busy = true;
    return this.onPlace(place, fault).finally(() => (place.busy = false));
  }

  private async onPlace(place: Place, fault: Exclude<Fault, { kind: 'server' }>): Promise<boolean> {
    switch (fault.kind) {
      case 'failpoint':
        return this.atFailpoint(place, fault);
      case 'process':
        if (fault.act === 'kill') {
          await place.kill();
          await place.serves();
        } else await pause(place, () => place.current.signal('SIGSTOP'));
        return true;
      case 'network':
        await this.onNetwork(place, fault);
        return true;
      case 'commit-cut':
        return this.atCommit(place, fault.when);
    }
  }

  private async atFailpoint(place: Place, { act, point }: Extract<Fault, { kind: 'failpoint' }>): Promise<boolean> {
    const { current } = place;
    let tripped = false;
    current.onTripped = () => (tripped = true);
    void current.ended.then(() => (tripped ||= act === 'kill'));
    if (act === 'kill') place.expectEnd();
    current.arm(point.name, act);
    for (const deadline = Date.now() + ARMED_MS; !tripped && Date.now() < deadline;) await sleep(LOOK_EVERY_MS);
    current.disarm();
    if (!tripped) {
      place.expectEnd(false);
      // It may have come by just now.
      await sleep(LOOK_EVERY_MS);
      current.signal('SIGCONT');
      return false;
    }
    if (act === 'kill') {
      await current.ended;
      await place.serves();
    } else if (act === 'stop') await pause(place, () => undefined);
    return true;
  }

  private async onNetwork({ plan }: Place, { act, server }: Extract<Fault, { kind: 'network' }>): Promise<void> {
    const proxy = server === 'database' ? plan.toDatabase : plan.toRedis;
    if (act === 'reset') return proxy.reset();
    if (act === 'delay') proxy.delay(20 + this.dice.below(280));
    else proxy.silence();
    await sleep(act === 'delay' ? DELAYED_MS : STOPPED_MS);
    proxy.heal();
  }

  private async atCommit({ plan }: Place, when: 'before' | 'after'): Promise<boolean> {
    let cut = false;
    plan.toDatabase.cutAtCommit(when, () => (cut = true));
    for (const deadline = Date.now() + ARMED_MS; !cut && Date.now() < deadline;) await sleep(LOOK_EVERY_MS);
    plan.toDatabase.heal();
    return cut;
  }

  private async onServer({ act, server }: Extract<Fault, { kind: 'server' }>): Promise<boolean> {
    this.serverBusy = true;
    const awayMs = AWAY_MS.least + this.dice.below(AWAY_MS.most - AWAY_MS.least);
    try {
      if (act === 'flush') await this.fleet.onRedis((redis) => redis.flushall());
      else if (act === 'stop') {
        this.fleet[server].pause();
        await sleep(STOPPED_MS);
        this.fleet[server].resume();
      } else await (server === 'redis' ? this.fleet.restartRedis(awayMs) : this.fleet.restartDatabase(awayMs));
      return true;
    } finally {
      this.serverBusy = false;
    }
  }
}

async function pause({ current }: Place, stop: () => void): Promise<void> {
  stop();
  await sleep(STOPPED_MS);
  current.signal('SIGCONT');
}
