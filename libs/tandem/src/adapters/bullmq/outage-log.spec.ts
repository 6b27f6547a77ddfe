import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OutageLog } from './outage-log.js';

describe('OutageLog', () => {
  let log: OutageLog;
  let said: string[];

  beforeEach(() => {
    said = [];
    for (const level of ['debug', 'log', 'warn', 'error'] as const) {
      vi.spyOn(Logger.prototype, level).mockImplementation((text: unknown) => void said.push(`${level} ${String(text)}`));
    }
    log = new OutageLog(new Logger('Tandem'), 'Redis at here');
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('says once that a server is away, and once that it is back', () => {
    for (let i = 0; i < 3; i++) log.report(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
    log.over();
    log.over();
    expect(said).toEqual([expect.stringMatching(/^warn Redis at here does not answer \(ECONNREFUSED\)/), 'log Redis at here answers again.']);
  });

  it.each([
    'Missing key for job j-1-1. moveToFinished',
    'Missing lock for job j-1-1. moveToFinished',
    'Lock mismatch for job j-1-1. Cmd moveToFinished from active',
    'could not renew lock for job j-1-1',
    'Job j-1-1 is not in the active state. moveToFinished',
  ])('keeps off the log that a ticket went while it ran: %s', (message) => {
    log.report(new Error(message));
    expect(said).toEqual([expect.stringContaining('debug')]);
  });

  it('says which ticket failed, but not that BullMQ gave one up whose process was killed', () => {
    log.failed('shop.wake-ups 7', new Error('no such consumer'));
    log.failed('shop.wake-ups 8', new Error('job stalled more than allowable limit'));
    expect(said).toEqual(['error shop.wake-ups 7: no such consumer', expect.stringMatching(/^debug shop\.wake-ups 8/)]);
  });
});
