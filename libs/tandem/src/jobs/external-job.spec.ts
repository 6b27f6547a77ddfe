import { describe, expect, it } from 'vitest';
import { nextMessage } from '../kernel/message-context.js';
import { ExternalJob, type ExternalJobOptions } from './external-job.js';
import { newJob } from './new-job.js';

const violation = (path: string): Error => expect.objectContaining({ code: 'TANDEM_VALIDATION', data: { violations: [expect.objectContaining({ path })] } }) as Error;

describe('an external job', () => {
  it.each<[path: string, queue: string, name: string, options: ExternalJobOptions]>([
    ['queue', '', 'print', {}],
    ['queue', 'a:b', 'print', {}],
    ['queue', 'ä', 'print', {}],
    ['name', 'q', '', {}],
    ['name', 'q', 'x'.repeat(201), {}],
    ['prefix', 'q', 'print', { prefix: '' }],
    ['attempts', 'q', 'print', { attempts: 0 }],
    ['priority', 'q', 'print', { priority: 2_097_153 }],
  ])('refuses a %s that BullMQ cannot take', (path, queue, name, options) => expect(() => new ExternalJob(queue, name, {}, options)).toThrow(violation(path)));

  it('refuses an option that there is not', () => {
    expect(() => new ExternalJob('q', 'print', {}, { delay: 5 } as ExternalJobOptions)).toThrow(expect.objectContaining({ code: 'TANDEM_WIRING' }) as Error);
  });

  it.each([[{ at: new Date(0) }], [{ total: 1n }], [{ x: -0 }], [[undefined]], [{ f: () => 1 }]])('refuses data that is not plain JSON when it is queued: %o', (data) => {
    expect(() => newJob(new ExternalJob('q', 'print', data), nextMessage())).toThrow(expect.objectContaining({ code: 'TANDEM_PAYLOAD_REFUSED' }) as Error);
  });

  it('is stored with all that its hand-over needs', () => {
    const job = newJob(new ExternalJob('Printer', 'print', { a: [1, 'ü', null] }, { priority: 3 }), nextMessage(), { dedupeKey: 'k' });
    expect(job).toMatchObject({ name: 'external:Printer', queue: ':external', dedupeKey: 'k', sequenceKey: null });
    expect(JSON.parse(job.payload)).toEqual({ queue: 'Printer', name: 'print', data: { a: [1, 'ü', null] }, prefix: 'bull', attempts: 1, priority: 3 });
  });
});
