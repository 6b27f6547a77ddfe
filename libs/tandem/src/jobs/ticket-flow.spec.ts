import { beforeEach, describe, expect, it } from 'vitest';
import { Clock } from '../kernel/clock.js';
import { JobTransport, type NewTicket } from './job-transport.js';
import { TicketFlow } from './ticket-flow.js';

/** A queue in memory whose adds may be held up or refused. */
class CountedTransport extends JobTransport {
  ids = new Set<string>();
  adds = 0;
  looks = 0;
  underWay = 0;
  away = false;
  hold: Promise<void> | undefined;

  override async add(tickets: readonly NewTicket[]): Promise<void> {
    this.adds++;
    this.underWay++;
    await this.hold;
    this.underWay--;
    if (this.away) throw new Error('away');
    for (const { id } of tickets) this.ids.add(id);
  }
  override async queued(): Promise<number> {
    this.looks++;
    return this.ids.size;
  }
  override work = () => Promise.resolve();
  override handOver = () => Promise.resolve();
  override stop = () => Promise.resolve();
}

class SetClock extends Clock {
  time = 0;
  override now = () => this.time;
}

let transport: CountedTransport;
let clock: SetClock;
let failures: number;
let made: number;
const flow = (maxQueuedTickets = 10_000) => new TicketFlow('mail', { transport, clock, maxQueuedTickets, outcome: (error) => void (failures += error === undefined ? 0 : 1) });
const tickets = (count: number): NewTicket[] => Array.from({ length: count }, () => ({ id: `t${made++}`, epoch: 0, queue: 'mail' }));

beforeEach(() => {
  transport = new CountedTransport();
  clock = new SetClock();
  [failures, made] = [0, 0];
});

describe('the way of tickets into a queue', () => {
  it('has one add under way, and what comes meanwhile goes with the next', async () => {
    let goOn!: () => void;
    transport.hold = new Promise((resolve) => (goOn = resolve));
    const flowing = flow();
    const sends = tickets(500).map((ticket) => flowing.send([ticket]));
    await new Promise(setImmediate);
    expect([transport.adds, transport.underWay]).toEqual([1, 1]);
    goOn();
    await Promise.all(sends);
    expect([transport.adds, transport.ids.size]).toEqual([2, 500]);
  });

  it('keeps a bounded number of tickets for a queue that does not answer, however many come', async () => {
    transport.hold = new Promise(() => undefined);
    const flowing = flow(1_000_000);
    for (let i = 0; i < 200; i++) void flowing.send(tickets(1_000));
    await new Promise(setImmediate);
    expect(transport.underWay).toBe(1);
    expect((flowing as unknown as { waiting: unknown[] }).waiting.length).toBe(10_000);
  });

  it('keeps nothing for a queue that refuses, and goes on when it is back', async () => {
    transport.away = true;
    const flowing = flow();
    for (let i = 0; i < 50; i++) await flowing.send(tickets(10));
    expect([failures, (flowing as unknown as { waiting: unknown[] }).waiting.length]).toEqual([50, 0]);
    transport.away = false;
    await flowing.send(tickets(10));
    expect(transport.ids.size).toBe(10);
  });

  it('does not look at the queue before a tenth of what it may hold was added', async () => {
    const flowing = flow(1_000);
    for (const ticket of tickets(100)) await flowing.send([ticket]);
    expect([transport.looks, transport.ids.size]).toEqual([0, 100]);
    for (const ticket of tickets(500)) await flowing.send([ticket]);
    expect([transport.looks, transport.ids.size]).toEqual([5, 600]);
  });

  it('stops where the queue is full, looks at it once a second, and goes on when it is nearly empty', async () => {
    const flowing = flow(1_000);
    for (let i = 0; i < 30; i++) await flowing.send(tickets(70));
    expect(transport.ids.size).toBe(1_000);
    const { looks } = transport;
    await flowing.send(tickets(70));
    expect(transport.looks).toBe(looks);
    const worked = async (left: number) => {
      transport.ids = new Set([...transport.ids].slice(0, left));
      clock.time += 1_000;
      await flowing.send(tickets(70));
      return transport.ids.size;
    };
    expect([await worked(500), await worked(126)]).toEqual([500, 126]);
    expect(await worked(124)).toBe(194);
  });
});
