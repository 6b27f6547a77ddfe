import type { CallHandler, ExecutionContext } from '@nestjs/common';
import { lastValueFrom, of, throwError } from 'rxjs';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { StoredEvent } from '../events/event-log.js';
import { noteWritten } from '../events/written.js';
import type { StorageCheck } from '../kernel/adapter.js';
import { isTandemError } from '../kernel/errors.js';
import { nextMessage, runWithMessage } from '../kernel/message-context.js';
import { defaultDemand } from '../read/query/read-demand.js';
import { ConsistencyGuarantor } from './consistency-guarantor.js';
import { decodeToken, encodeToken } from './consistency-token.js';
import { ConsistencyTokenInterceptor } from './consistency-token.interceptor.js';
import { noteHandled } from './handled-commands.js';

const LOG = 'this-log';
const token = encodeToken(LOG, { positions: new Map([[1, 4]]), streams: new Set([7]) });

describe('ConsistencyTokenInterceptor', () => {
  let interceptor: ConsistencyTokenInterceptor;
  const headers = new Map<string, string>();
  const express = () => ({ setHeader: vi.fn((name: string, value: string) => headers.set(name, value)), headersSent: false });
  const fastify = () => ({ header: vi.fn((name: string, value: string) => headers.set(name, value)), sent: false });

  /** The header's demand as a handler sees it; `handle` runs in the request's context, like a controller. */
  const request = (header: string | string[] | undefined, handle: CallHandler['handle'] = () => of(defaultDemand()), answer: object = express(), type = 'http') => {
    const http = { getRequest: () => ({ headers: { 'consistency-token': header } }), getResponse: () => answer };
    const context = { getType: () => type, switchToHttp: () => http } as unknown as ExecutionContext;
    return runWithMessage(nextMessage(), async () => lastValueFrom(await interceptor.intercept(context, { handle }), { defaultValue: undefined }));
  };
  const writing = () => {
    noteWritten([{ shard: 0, seq: 9, tenant: '', stream: 'order-1' } as StoredEvent]);
    return of('written');
  };
  const answered = () => headers.get('Consistency-Token');
  const refused = expect.toSatisfy((error) => isTandemError(error, 'TANDEM_TOKEN_INVALID'));

  beforeEach(() => {
    headers.clear();
    const nothing = {} as never;
    interceptor = new ConsistencyTokenInterceptor(
      new ConsistencyGuarantor(nothing, nothing, nothing, { logId: LOG } as StorageCheck, { heads: async () => ({ cutMicros: 0, heads: new Map([[3, 12]]) }) } as never),
    );
  });

  it("makes the request's token the demand of its queries", async () => {
    expect(await request(token)).toMatchObject({ kind: 'token', token, onTimeout: 'error' });
    expect(answered()).toBeUndefined();
  });

  it.each([undefined, ''])('demands nothing for the header %j', async (header) => {
    expect(await request(header)).toBeUndefined();
  });

  it('answers a command that had nothing to change with a token of all that is there', async () => {
    const repeated = () => {
      noteHandled();
      return of('as before');
    };
    expect(await request(token, repeated)).toBe('as before');
    expect(decodeToken(LOG, answered()!).positions).toEqual(
      new Map([
        [1, 4],
        [3, 12],
      ]),
    );
  });

  it.each([
    ['Express', express],
    ['Fastify', fastify],
  ])('answers with the token of what was committed, on %s', async (_, answer) => {
    expect(await request(undefined, writing, answer())).toBe('written');
    expect(decodeToken(LOG, answered()!).positions).toEqual(new Map([[0, 9]]));
  });

  it('answers with what was brought and what was committed', async () => {
    await request(token, writing);
    const { positions, streams } = decodeToken(LOG, answered()!);
    expect(positions).toEqual(
      new Map([
        [0, 9],
        [1, 4],
      ]),
    );
    expect((streams as Set<number>).size).toBe(2);
  });

  it('tells what was committed although the request failed afterwards', async () => {
    const failing = () => {
      writing();
      return throwError(() => new Error('no mail server'));
    };
    await expect(request(undefined, failing)).rejects.toThrow('no mail server');
    expect(answered()).toBeDefined();
  });

  it('leaves an answer alone that is already on its way', async () => {
    await request(undefined, writing, { ...express(), headersSent: true });
    expect(answered()).toBeUndefined();
  });

  it.each([
    ['garbage', 'x'],
    ['two joined headers', `${token}, ${token}`],
    ['a list of headers', [token, token]],
    ['a token of another log', encodeToken('other', { positions: new Map(), streams: new Set() })],
  ])('refuses %s before anything runs', async (_, header) => {
    const handle = vi.fn(() => of(1));
    await expect(request(header, handle)).rejects.toThrow(refused);
    expect(handle).not.toHaveBeenCalled();
  });

  it('does nothing outside of HTTP', async () => {
    expect(await request('garbage', undefined, express(), 'rpc')).toBeUndefined();
  });
});
