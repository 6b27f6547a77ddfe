import { type CallHandler, type ExecutionContext, ForbiddenException } from '@nestjs/common';
import { defer, lastValueFrom, of } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { currentMessage, currentNotes, MessageContext, type MessageFacts, type RequestNotes } from './message-context.js';
import { RequestContextInterceptor } from './request-context.interceptor.js';
import type { Identity } from './request-settings.js';

const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

function contextOf(type: string, headers: object = {}): ExecutionContext {
  const request = { headers, user: { sub: 'ann', org: 'acme' } };
  return { getType: () => type, switchToHttp: () => ({ getRequest: () => request }) } as unknown as ExecutionContext;
}
const below: CallHandler = { handle: () => defer(async () => (await Promise.resolve(), { facts: currentMessage(), notes: currentNotes() })) };
const run = (context: ExecutionContext, identity?: Identity) =>
  lastValueFrom(new RequestContextInterceptor({ identity }).intercept(context, below)) as Promise<{ facts?: MessageFacts; notes?: RequestNotes }>;

describe('RequestContextInterceptor', () => {
  it('begins a chain with notes of its own, as who the application says acts', async () => {
    const identity: Identity = (context) => {
      const { user } = context.switchToHttp().getRequest<{ user: { sub: string; org: string } }>();
      return { actor: user.sub, tenant: user.org };
    };
    const first = await run(contextOf('http'), identity);
    const second = await run(contextOf('http'), identity);
    expect(first.facts).toMatchObject({ actor: 'ann', tenant: 'acme', correlationId: first.facts!.messageId });
    expect(first.facts!.correlationId).not.toBe(second.facts!.correlationId);
    expect(first.notes).toBeDefined();
    expect(first.notes).not.toBe(second.notes);
  });

  it('is known by the request where the chain is over, as in an exception filter', async () => {
    const context = contextOf('http');
    const request = context.switchToHttp().getRequest<object>();
    const { facts } = await run(context);
    expect(new MessageContext().ofRequest(request)).toBe(facts);
    const refused = {};
    expect(new MessageContext().ofRequest(refused).correlationId).not.toBe(facts!.correlationId);
    expect(new MessageContext().ofRequest(refused)).toBe(new MessageContext().ofRequest(refused));
  });

  it('takes a well-formed traceparent over and no other', async () => {
    expect((await run(contextOf('http', { traceparent: TRACE }))).facts?.traceparent).toBe(TRACE);
    const malformed = [
      TRACE.toUpperCase(),
      `ff${TRACE.slice(2)}`,
      TRACE.replace(/-[0-9a-f]{32}-/, `-${'0'.repeat(32)}-`),
      TRACE.replace(/-[0-9a-f]{16}-/, `-${'0'.repeat(16)}-`),
      `${TRACE}\r\nX: y`,
      [TRACE, TRACE],
    ];
    for (const traceparent of malformed) expect((await run(contextOf('http', { traceparent }))).facts).not.toHaveProperty('traceparent');
  });

  it('leaves everything but HTTP alone', async () => {
    expect((await run(contextOf('cqrs'))).facts).toBeUndefined();
    expect((await run(contextOf('rpc'))).facts).toBeUndefined();
  });

  it('lets the error of the identity function through before anything runs', () => {
    const identity: Identity = () => {
      throw new ForbiddenException();
    };
    const never: CallHandler = { handle: () => of(expect.unreachable()) };
    expect(() => new RequestContextInterceptor({ identity }).intercept(contextOf('http'), never)).toThrow(ForbiddenException);
  });
});
