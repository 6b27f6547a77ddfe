import { describe, expect, it } from 'vitest';
import { QueuedCommand, type QueuedCommandOptions, queuedCommandOf } from './queued-command.js';

class Decorated {}
const queued = (options: object) => QueuedCommand('spec.mail', { queue: 'mail', effect: 'sql', ...options } as QueuedCommandOptions<Decorated>)(Decorated);
const wiring = (sentence: string) => expect.objectContaining({ code: 'TANDEM_WIRING', message: expect.stringContaining(sentence) as string }) as Error;

describe('an option of @QueuedCommand that cannot work', () => {
  const cases: [options: object, sentence: string][] = [
    [{ attempts: 0 }, 'attempts is a whole number from 1'],
    [{ attempts: 1.5 }, 'attempts is a whole number from 1'],
    [{ backoffMs: -1 }, 'backoffMs is a whole number from 0'],
    [{ timeoutMs: 0 }, 'timeoutMs is a whole number from 1'],
    [{ timeoutMs: '5' }, 'timeoutMs is a whole number from 1'],
    [{ concurrency: 0 }, 'concurrency is a whole number from 1'],
    [{ concurrency: Number.NaN }, 'concurrency is a whole number from 1'],
    [{ priority: -1 }, 'priority is a whole number from 0'],
    [{ priority: 2_097_153 }, 'priority is at most 2097152'],
    [{ priority: '1' }, 'priority is a whole number from 0'],
    [{ delayMs: -1 }, 'delayMs is a whole number from 0'],
    [{ delayMs: 0.5 }, 'delayMs is a whole number from 0'],
    [{ batchSize: 0 }, 'batchSize is a whole number from 1'],
    [{ batchSize: 101 }, 'batchSize is at most 100'],
    [{ batchSize: 2, effect: 'external' }, "batchSize is for effect 'sql': what happens outside of the transaction cannot be undone with it"],
    [{ batchSize: 2, sequenceBy: () => 'key' }, 'batchSize and sequenceBy cannot be used together: jobs of a sequence run one by one'],
    [{ sequenceBy: 'orderId' }, 'sequenceBy is a function of the command'],
    [{ effect: 'both' }, "effect is 'sql' or 'external'"],
    [{ effect: undefined }, "effect is 'sql' or 'external'"],
    [{ queue: undefined }, '"undefined" is not lower-case letters'],
    [{ queue: 'Mail' }, '"Mail" is not lower-case letters'],
  ];
  it.each(cases)('is refused: %j', (options, sentence) => expect(() => queued(options)).toThrow(wiring(`@QueuedCommand('spec.mail') on Decorated: ${sentence}`)));

  it('is refused where there is none of its name', () => {
    expect(() => queued({ timeout: 1 })).toThrow(wiring("there is no option `timeout` of @QueuedCommand('spec.mail') on Decorated; the nearest is `timeoutMs`"));
  });

  it('is not one that is undefined, which leaves the default as it is', () => {
    queued({
      attempts: undefined,
      backoffMs: undefined,
      timeoutMs: undefined,
      concurrency: undefined,
      batchSize: undefined,
      priority: undefined,
      delayMs: undefined,
      sequenceBy: undefined,
      unknown: undefined,
    });
    expect(queuedCommandOf(Decorated)).toMatchObject({ attempts: 5, backoffMs: 1_000, timeoutMs: 30_000, concurrency: 4, batchSize: 1, priority: 0, delayMs: 0 });
  });

  it('is none of the least that can: one attempt, no pause', () => {
    queued({ attempts: 1, backoffMs: 0, timeoutMs: 1, concurrency: 1, batchSize: 1, sequenceBy: () => 'key' });
    expect(queuedCommandOf(Decorated)).toMatchObject({ attempts: 1, backoffMs: 0, timeoutMs: 1, concurrency: 1, batchSize: 1 });
  });
});
