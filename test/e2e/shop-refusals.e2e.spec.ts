/** What the shop says no to: input that means harm, and changes that are at odds with others. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, ShopClient } from './shop-client.js';
import { shopStages, type Stage } from './shop-stages.js';

const PROBLEM = expect.stringContaining('application/problem+json') as string;
const line = { sku: 'TEAPOT-7', quantity: 1, unitPrice: '1' };
const order = (orderId: string, more: object = {}) => ({ orderId, customerId: null, country: 'France', placedAt: '2026-01-31T09:30:00Z', lines: [line], ...more });
const salesReturn = (returnId: string, more: object = {}) => ({ returnId, customerId: null, country: 'France', recordedAt: '2026-02-03T16:00:00Z', lines: [line], ...more });
const cursor = (...place: unknown[]) => Buffer.from(JSON.stringify(place)).toString('base64url');
const nested = (open: string, close: string, depth: number) => `{"name":${open.repeat(depth)}1${close.repeat(depth)},"email":"deep@example.com"}`;
const outcomes = (answers: readonly Answer[]) => answers.map(({ status, body }) => `${status} ${(body.code as string | undefined) ?? 'done'}`).toSorted();
const atOnce = (count: number, send: (n: number) => Promise<Answer>) => Promise.all(Array.from({ length: count }, (_, n) => send(n)));

describe.each(shopStages())('the shop refuses on $name', (plan) => {
  let stage: Stage;
  let shop: ShopClient;
  beforeAll(async () => {
    stage = await plan.open();
    shop = new ShopClient(stage.origin);
  }, 240_000);
  afterAll(() => stage?.end(), 60_000);

  describe('input that no client means', () => {
    it.each([
      ['a search for NUL', 'GET', '/users?search=%00'],
      ['a search with NUL inside', 'GET', '/users?search=a%00b'],
      ['a search that is no UTF-8', 'GET', '/users?search=%ff%fe'],
      ['a cursor before the first day', 'GET', `/users?cursor=${cursor(-8_640_000_000_000_000, 'a')}`],
      ['a cursor after the last day', 'GET', `/users?cursor=${cursor(8_640_000_000_000_000, 'a')}`],
      ['a limit in hexadecimal', 'GET', '/users?limit=0x10'],
      ['a limit with an exponent', 'GET', '/users?limit=1e1'],
      ['a path id with NUL', 'GET', '/customers/%00/spending'],
      ['lists in lists', 'POST', '/users', nested('[', ']', 100_000)],
      ['objects in objects', 'POST', '/users', nested('{"a":', '}', 5_000)],
      ['a member __proto__', 'POST', '/users', '{"name":"P","email":"p1@example.com","__proto__":{"status":"x"}}'],
      ['a member constructor', 'POST', '/users', '{"name":"P","email":"p2@example.com","constructor":{}}'],
      ['a member toString', 'POST', '/users', '{"name":"P","email":"p3@example.com","toString":1}'],
      ['a name that nobody sees', 'POST', '/users', '{"name":"\u200b","email":"p4@example.com"}'],
      ['an id that is a path', 'POST', '/users', '{"id":"Count","name":"P","email":"p5@example.com"}'],
      ['a stream with NUL', 'POST', '/ops/dead-letters/retry', '{"consumer":"users.user-view","stream":"a\\u0000b"}'],
    ])('%s', async (_, method, path, body?: string) => {
      expect(await shop.send(method, path, body)).toMatchObject({ status: 400, type: PROBLEM });
    });

    it.each([
      ['lines that are nothing', JSON.stringify({ ...order('many'), lines: Array.from({ length: 340_000 }, () => ({})) })],
      ['as many of them as there may be', JSON.stringify({ ...order('many'), lines: Array.from({ length: 500 }, () => ({})) })],
      ['lines that are numbers', JSON.stringify({ ...order('many'), lines: Array(480_000).fill(1) })],
      ['members that nobody knows', JSON.stringify(Object.fromEntries(Array.from({ length: 80_000 }, (_, n) => [`k${n}`, 1])))],
    ])('%s, with an answer of bounded length', async (_, body) => {
      const answer = await shop.post('/orders', body);
      expect(answer).toMatchObject({ status: 400, type: PROBLEM, body: { code: 'SHOP_INVALID' } });
      expect((answer.body.errors as unknown[]).length).toBeLessThanOrEqual(100);
      expect(JSON.stringify(answer.body).length).toBeLessThan(20_000);
    });

    it('an address and headers that are too large, and what is no HTTP', async () => {
      expect(await shop.get(`/users/${'a'.repeat(20_000)}`)).toMatchObject({ status: 431, type: PROBLEM, body: { code: 'HEADERS_TOO_LARGE' } });
      expect(await shop.get('/users/a', 'a'.repeat(20_000))).toMatchObject({ status: 431, type: PROBLEM });
      const { hostname, port } = new URL(stage.origin);
      const socket = connect(Number(port), hostname).setEncoding('utf8');
      socket.write('good morning\r\n\r\n');
      let text = '';
      for await (const chunk of socket as AsyncIterable<string>) text += chunk;
      expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\nContent-Type: application\/problem\+json[\s\S]*"code":"REQUEST_UNREADABLE"/);
    });

    it('an order whose total would stop a report, which goes on', async () => {
      const rich = await shop.post('/orders', order('rich', { country: 'Richland', lines: [{ ...line, unitPrice: '999999999999999.9999' }] }));
      expect(rich).toMatchObject({ status: 400, body: { code: 'SHOP_INVALID', errors: [{ field: 'lines' }] } });
      const largest = { country: 'Richland', lines: [{ ...line, unitPrice: '999999999999.9999' }] };
      const placed = await atOnce(2, (n) => shop.post('/orders', order(`rich-${n}`, largest)));
      const sales = await shop.get('/reports/country-sales', placed[1]!.token);
      expect(sales.list).toContainEqual(expect.objectContaining({ country: 'Richland' }));
      await expect
        .poll(async () => (await shop.get('/reports/country-sales')).list, { timeout: 30_000 })
        .toContainEqual({ country: 'Richland', orders: 2, returns: 0, netSales: '1999999999999.9998' });
    });
  });

  it('with the correlation id that its log lines have', async () => {
    const { status, body } = await shop.post('/orders/nothing/cancel');
    expect(status).toBe(404);
    await expect.poll(() => stage.api.stderr.split('\n').filter((text) => text.includes(String(body.correlationId)))).toContainEqual(expect.stringContaining('CancelOrder'));
  });

  describe('what is at odds', () => {
    it('another user of an id that is taken', async () => {
      const user = { id: 'first', name: 'First', email: 'first@example.com' };
      expect(outcomes(await atOnce(8, () => shop.post('/users', user)))).toEqual(Array(8).fill('201 done'));
      expect(await shop.post('/users', { ...user, name: 'Second' })).toMatchObject({ status: 409, type: PROBLEM, body: { code: 'SHOP_USER_EXISTS' } });
    });

    it('orders of other content under one id, when they come at once', async () => {
      const answers = await atOnce(20, (n) => shop.post('/orders', order('one', { country: `Country ${n}` })));
      expect(outcomes(answers)).toEqual(['201 done', ...Array<string>(19).fill('409 SHOP_ORDER_CONFLICT')]);
    });

    it('returns of other content under one id', async () => {
      expect((await shop.post('/returns', salesReturn('back'))).status).toBe(201);
      expect((await shop.post('/returns', salesReturn('back'))).status).toBe(201);
      expect(await shop.post('/returns', salesReturn('back', { country: 'Spain' }))).toMatchObject({ status: 409, type: PROBLEM, body: { code: 'SHOP_RETURN_CONFLICT' } });
    });

    it('but no change that only came at the same time as another', async () => {
      await shop.post('/orders', order('cancelled'));
      expect(outcomes(await atOnce(40, () => shop.post('/orders/cancelled/cancel')))).toEqual(Array(40).fill('200 done'));
      await shop.post('/users', { id: 'busy', name: 'Busy', email: 'busy@example.com' });
      expect(outcomes(await atOnce(40, (n) => shop.patch('/users/busy', { name: `Busy ${n}` })))).toEqual(Array(40).fill('200 done'));
    });
  });
});
