import type { CallHandler, ExecutionContext } from '@nestjs/common';
import { AsyncContext } from '@nestjs/cqrs';
import { defer, lastValueFrom, of } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { currentMessage, nextMessage, runWithMessage } from '../../kernel/message-context.js';
import { commandIdFor, Idempotency } from './command-id.js';
import { IdempotencyKeyInterceptor } from './idempotency-key.interceptor.js';

const interceptor = new IdempotencyKeyInterceptor();
const contextOf = (request: object, type = 'http') => ({ getType: () => type, switchToHttp: () => ({ getRequest: () => request }) }) as unknown as ExecutionContext;
const requestOf = (headers: object, more: object = {}) => contextOf({ headers, method: 'POST', url: '/orders', body: { id: 1 }, ...more });

/** The ids of what `send` asks for, in a request with these. */
const within = <T>(context: ExecutionContext, send: () => T | Promise<T>): Promise<T> => {
  const below: CallHandler = { handle: () => defer(async () => send()) };
  return runWithMessage(nextMessage(), () => lastValueFrom(interceptor.intercept(context, below)), {}) as Promise<T>;
};
const key = (value: unknown) => requestOf({ 'idempotency-key': value });

describe('IdempotencyKeyInterceptor', () => {
  it('gives the commands that the request sends itself its key, in order', async () => {
    const ids = await within(key('k'), () => [commandIdFor(undefined), commandIdFor(new AsyncContext()), commandIdFor(undefined)].map((id) => id?.id));
    expect(ids).toEqual(['k', 'k#2', 'k#3']);
  });

  it('leaves those that have an id of their own, or that something else causes', async () => {
    const ids = await within(key('k'), () => {
      const own = commandIdFor(Idempotency.key('own'));
      const caused = runWithMessage(nextMessage(), () => commandIdFor(undefined));
      return [own?.id, caused?.id, commandIdFor(undefined)?.id];
    });
    expect(ids).toEqual(['own', undefined, 'k']);
  });

  it('compares method, address and body, whatever the order of the members', async () => {
    const content = (more: object) => within(requestOf({ 'idempotency-key': 'k' }, more), () => commandIdFor(undefined)!.content!());
    const first = await content({ body: { a: 1, b: [2, null] } });
    expect(await content({ body: { b: [2, null], a: 1 } })).toBe(first);
    const others = await Promise.all(
      [{ body: { a: 1, b: [2] } }, { body: { a: 1, b: [2, null] }, method: 'PUT' }, { body: { a: 1, b: [2, null] }, originalUrl: '/v2/orders' }].map(content),
    );
    expect(new Set([first, ...others]).size).toBe(4);
  });

  it('leaves the comparison to the command where nobody has parsed the body', async () => {
    const unread = requestOf({ 'idempotency-key': 'k', 'content-length': '12' }, { body: undefined });
    expect(await within(unread, () => commandIdFor(undefined))).toEqual({ id: 'k', content: undefined });
    const none = requestOf({ 'idempotency-key': 'k' }, { body: undefined });
    expect(await within(none, () => commandIdFor(undefined)?.content)).toBeTypeOf('function');
  });

  it.each(['', 'a b', 'k, l', '"k"', 'x'.repeat(129), ['k', 'l']])('refuses the key %j before anything runs', (value) => {
    const never: CallHandler = { handle: () => of(expect.unreachable()) };
    const intercept = () => runWithMessage(nextMessage(), () => interceptor.intercept(key(value), never), {});
    expect(intercept).toThrow(expect.objectContaining({ code: 'TANDEM_COMMAND_ID_INVALID' }));
  });

  it('leaves everything else alone', async () => {
    expect(await within(requestOf({}), () => commandIdFor(undefined))).toBeUndefined();
    expect(await within(contextOf({}, 'cqrs'), () => [currentMessage()?.commandId, commandIdFor(undefined)])).toEqual([undefined, undefined]);
    expect(() => interceptor.intercept(key('k'), { handle: () => of(1) })).toThrow(expect.objectContaining({ code: 'TANDEM_WIRING' }));
  });
});
