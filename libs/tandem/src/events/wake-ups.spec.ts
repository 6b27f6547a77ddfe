import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Clock } from '../kernel/clock.js';
import type { Consumer } from './consumer.js';
import { ConsumerRegistry } from './consumer-registry.js';
import type { ConsumerSettings } from './consumer-settings.js';
import { WakeUps } from './wake-ups.js';
import { WakeUpTransport } from './wake-up-transport.js';

const WINDOW_MS = 25;

/** Keeps every message on its way until the test answers it. */
class SlowTransport extends WakeUpTransport {
  readonly sent: string[][] = [];
  private readonly open: { readonly arrived: () => void; readonly lost: (error: Error) => void }[] = [];

  override signal(consumers: readonly string[]): Promise<void> {
    this.sent.push([...consumers]);
    return new Promise((resolve, reject) => this.open.push({ arrived: resolve, lost: reject }));
  }
  override arrange = () => Promise.resolve();
  override listen = () => Promise.resolve();
  override stop = () => Promise.resolve();

  async answer(error?: Error): Promise<void> {
    const message = this.open.shift();
    if (error) message?.lost(error);
    else message?.arrived();
    await vi.advanceTimersByTimeAsync(0);
  }
}

describe('WakeUps', () => {
  let transport: SlowTransport;
  let wakeUps: WakeUps;
  const signal = (...names: string[]) => wakeUps.signal(names.map((name) => ({ name }) as Consumer));

  beforeEach(() => {
    vi.useFakeTimers();
    transport = new SlowTransport();
    wakeUps = new WakeUps(new ConsumerRegistry(), transport, new Clock(), { wakeUpWindowMs: WINDOW_MS } as ConsumerSettings);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('sends the first at once, and what follows within the window as one', async () => {
    signal('a');
    expect(transport.sent).toEqual([['a']]);
    await transport.answer();
    for (let n = 0; n < 10; n++) signal('a');
    expect(transport.sent).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(WINDOW_MS);
    expect(transport.sent).toEqual([['a'], ['a']]);
  });

  it('sends each of a light load at once', async () => {
    for (let n = 1; n <= 20; n++) {
      signal('a');
      expect(transport.sent).toHaveLength(n);
      await transport.answer();
      await vi.advanceTimersByTimeAsync(10);
    }
  });

  it('waits longer the more there is, and no longer when it is quiet again', async () => {
    const busy = async (ms: number) => {
      const before = transport.sent.length;
      for (let n = 0; n < ms; n++) {
        signal('a');
        await transport.answer();
        await vi.advanceTimersByTimeAsync(1);
      }
      return transport.sent.length - before;
    };
    await busy(100);
    expect(await busy(1_000)).toBe(1_000 / WINDOW_MS);
    for (let n = 0; n < 5; n++) {
      await vi.advanceTimersByTimeAsync(100);
      await transport.answer();
      signal('a');
      await transport.answer();
    }
    const before = transport.sent.length;
    signal('a');
    await vi.advanceTimersByTimeAsync(5);
    expect(transport.sent.length - before).toBe(1);
  });

  it('has one message on its way, however slow the queue; what came meanwhile goes out with the next', async () => {
    signal('a');
    for (let n = 0; n < 100; n++) {
      signal('a', n % 2 === 0 ? 'b' : 'c');
      await vi.advanceTimersByTimeAsync(WINDOW_MS);
    }
    expect(transport.sent).toEqual([['a']]);
    await transport.answer();
    expect(transport.sent).toEqual([['a'], ['a', 'b', 'c']]);
    await transport.answer();
    await vi.advanceTimersByTimeAsync(10 * WINDOW_MS);
    expect(transport.sent).toHaveLength(2);
  });

  it('keeps another consumer waiting no longer than the message before it', async () => {
    signal('a');
    signal('b');
    await transport.answer();
    expect(transport.sent).toEqual([['a'], ['b']]);
  });

  it('goes on after a message that was refused', async () => {
    signal('a');
    signal('b');
    await transport.answer(new Error('away'));
    expect(transport.sent).toEqual([['a'], ['b']]);
    await transport.answer();
    await vi.advanceTimersByTimeAsync(WINDOW_MS);
    signal('a');
    expect(transport.sent.at(-1)).toEqual(['a']);
  });

  it('sends at the end what still waits', async () => {
    signal('a');
    await transport.answer();
    signal('a');
    wakeUps.onModuleDestroy();
    expect(transport.sent).toEqual([['a'], ['a']]);
  });
});
