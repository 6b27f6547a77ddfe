import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ShopClient } from './shop-client.js';
import { shopStages, type Stage } from './shop-stages.js';

const line = { sku: 'TEAPOT-7', quantity: 2, unitPrice: '19.9501' };
const order = (orderId: string, more: object = {}) => ({ orderId, customerId: null, country: 'France', placedAt: '2026-01-31T09:30:00Z', lines: [line], ...more });
const salesReturn = (returnId: string, more: object = {}) => ({ returnId, customerId: null, country: 'France', recordedAt: '2026-02-03T16:00:00Z', lines: [line], ...more });

describe.each(shopStages())('the shop over HTTP on $name', (plan) => {
  let stage: Stage;
  let shop: ShopClient;
  beforeAll(async () => {
    stage = await plan.open();
    shop = new ShopClient(stage.origin);
  }, 240_000);
  afterAll(() => stage?.end(), 60_000);

  describe('a request with an Idempotency-Key', () => {
    const send = (key: string, path: string, body: unknown, method = 'POST') => shop.send(method, path, body, { 'Idempotency-Key': key });

    it('is answered as the first time, token included, and has one effect: also where the server made the id', async () => {
      const body = { name: 'Ida Twice', email: 'ida.twice@example.com' };
      const first = await send('7e1c2a90-ida', '/users', body);
      expect(first.status).toBe(201);
      await shop.post('/users', { name: 'Another', email: 'another@example.com' });
      expect(await send('7e1c2a90-ida', '/users', body)).toEqual(first);
      const page = await shop.get('/users?search=ida.twice', first.token);
      expect(page.body.items).toHaveLength(1);
    });

    it('has one effect when ten are sent at once', async () => {
      const sent = await Promise.all(Array.from({ length: 10 }, () => send('ten-at-once', '/orders', order('order-ten'))));
      expect(new Set(sent.map((answer) => JSON.stringify(answer))).size).toBe(1);
      expect(sent[0]).toMatchObject({ status: 201, body: { id: 'order-ten' } });
    });

    it('is refused with another body, at another address, and with a key that is none', async () => {
      expect((await send('once', '/orders', order('order-once'))).status).toBe(201);
      const conflict = { status: 409, type: expect.stringContaining('application/problem+json') as string, body: { code: 'TANDEM_COMMAND_ID_CONFLICT' } };
      expect(await send('once', '/orders', order('order-other'))).toMatchObject(conflict);
      expect(await send('once', '/orders/order-once/cancel', undefined)).toMatchObject(conflict);
      for (const key of ['', 'a b', 'x'.repeat(129)])
        expect(await send(key, '/orders', order('order-none'))).toMatchObject({ status: 400, body: { code: 'TANDEM_COMMAND_ID_INVALID' } });
      expect((await shop.get('/orders/order-other')).status).toBe(404);
    });

    it('that failed may be sent again', async () => {
      await shop.post('/users', { id: 'holder', name: 'Holder', email: 'held@example.com' });
      const body = { id: 'wanter', name: 'Wanter', email: 'held@example.com' };
      expect(await send('wanted', '/users', body)).toMatchObject({ status: 409, body: { code: 'SHOP_EMAIL_TAKEN' } });
      await shop.patch('/users/holder', { email: 'let.go@example.com' });
      for (let i = 0; i < 2; i++) expect(await send('wanted', '/users', body)).toMatchObject({ status: 201, body: { id: 'wanter' } });
    });

    it('is documented', async () => {
      const { paths } = (await shop.get('/docs-json')).body as { paths: Record<string, Record<string, { parameters: { name: string }[] }>> };
      for (const path of ['/users', '/orders', '/returns']) expect(paths[path]!.post!.parameters.map(({ name }) => name)).toContain('Idempotency-Key');
    });
  });

  describe('users', () => {
    it('creates a user and shows it at once to who sends the token back', async () => {
      const created = await shop.post('/users', { id: 'ann', name: 'Ann Archer', email: 'Ann@example.com' });
      expect(created).toMatchObject({ status: 201, body: { id: 'ann' } });
      expect(created.token).toBeTruthy();
      const shown = await shop.get('/users/ann', created.token);
      expect(shown).toMatchObject({ status: 200, body: { id: 'ann', name: 'Ann Archer', status: 'active' } });
      expect(Object.keys(shown.body).toSorted()).toEqual(['createdAt', 'email', 'id', 'name', 'status']);
      expect(new Date(String(shown.body.createdAt)).getTime()).toBeGreaterThan(Date.now() - 600_000);
    });

    it('makes an id when none is given', async () => {
      const created = await shop.post('/users', { name: 'Bob', email: 'bob@example.com' });
      expect(created.status).toBe(201);
      expect(await shop.get(`/users/${String(created.body.id)}`, created.token)).toMatchObject({ status: 200, body: { name: 'Bob' } });
    });

    it('changes name and e-mail in one unit of work: both or neither', async () => {
      await shop.post('/users', { id: 'carl', name: 'Carl', email: 'carl@example.com' });
      const taken = await shop.patch('/users/carl', { name: 'Carlo', email: 'ann@example.com' });
      expect(taken).toMatchObject({ status: 409, type: expect.stringContaining('application/problem+json') as string, body: { code: 'SHOP_EMAIL_TAKEN', status: 409 } });
      const changed = await shop.patch('/users/carl', { email: 'carl@elsewhere.example' });
      expect(changed.status).toBe(200);
      expect((await shop.get('/users/carl', changed.token)).body).toMatchObject({ name: 'Carl', email: 'carl@elsewhere.example' });
    });

    it('deactivates instead of deleting', async () => {
      await shop.post('/users', { id: 'dora', name: 'Dora', email: 'dora@example.com' });
      const gone = await shop.delete('/users/dora');
      expect(gone.status).toBe(200);
      expect((await shop.get('/users/dora', gone.token)).body).toMatchObject({ status: 'deactivated' });
      expect(await shop.patch('/users/dora', { name: 'D' })).toMatchObject({ status: 409, body: { code: 'SHOP_USER_DEACTIVATED' } });
    });

    it('counts, searches and pages', async () => {
      let token: string | null = null;
      for (const n of [1, 2, 3, 4, 5]) token = (await shop.post('/users', { id: `page-${n}`, name: `Pager ${n}`, email: `pager${n}@example.com` })).token;
      const seen: unknown[] = [];
      let cursor = '';
      for (let pages = 0; pages < 3; pages++) {
        const page = await shop.get(`/users?search=pager&limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, token);
        expect(page.status).toBe(200);
        seen.push(...(page.body.items as { id: string }[]).map(({ id }) => id));
        cursor = (page.body.nextCursor as string | null) ?? '';
      }
      expect(cursor).toBe('');
      expect(seen).toEqual(['page-1', 'page-2', 'page-3', 'page-4', 'page-5']);
      const before = Number((await shop.get('/users/count', token)).body.count);
      const one = await shop.post('/users', { name: 'One more', email: 'more@example.com' });
      expect((await shop.get('/users/count', one.token)).body).toEqual({ count: before + 1 });
    });
  });

  describe('orders and returns', () => {
    it('places an order once; the same again changes nothing, other content is refused', async () => {
      const placed = await shop.post('/orders', order('o-1', { customerId: 'ann' }));
      expect(placed).toMatchObject({ status: 201, body: { id: 'o-1' } });
      expect((await shop.get('/orders/o-1', placed.token)).body).toMatchObject({
        orderId: 'o-1',
        customerId: 'ann',
        country: 'France',
        status: 'placed',
        total: '39.9002',
        lines: [{ ...line }],
      });
      expect((await shop.post('/orders', order('o-1', { customerId: 'ann' }))).status).toBe(201);
      expect(await shop.post('/orders', order('o-1', { country: 'Spain' }))).toMatchObject({ status: 409, body: { code: 'SHOP_ORDER_CONFLICT' } });
    });

    it('keeps the sums of customer and country exact to four places', async () => {
      await shop.post('/orders', order('s-1', { customerId: 'sum', country: 'Norway', lines: [{ sku: 'A', quantity: 3, unitPrice: '0.1' }] }));
      await shop.post('/orders', order('s-2', { customerId: 'sum', country: 'Norway', lines: [{ sku: 'B', quantity: 1, unitPrice: '0.2001' }] }));
      const returned = await shop.post('/returns', salesReturn('r-1', { customerId: 'sum', country: 'Norway', lines: [{ sku: 'A', quantity: 1, unitPrice: '0.1' }] }));
      expect(returned).toMatchObject({ status: 201, body: { id: 'r-1' } });
      expect((await shop.get('/customers/sum/spending', returned.token)).body).toMatchObject({ customerId: 'sum', orders: 2, returns: 1, spent: '0.4001' });
      const sales = await shop.get('/reports/country-sales', returned.token);
      expect(sales.list).toContainEqual({ country: 'Norway', orders: 2, returns: 1, netSales: '0.4001' });
    });

    it('cancels an order and takes it out of the sums', async () => {
      await shop.post('/orders', order('c-1', { country: 'Chile' }));
      const cancelled = await shop.post('/orders/c-1/cancel');
      expect(cancelled.status).toBe(200);
      expect((await shop.get('/orders/c-1', cancelled.token)).body).toMatchObject({ status: 'cancelled' });
      expect((await shop.get('/reports/country-sales', cancelled.token)).list).toContainEqual({ country: 'Chile', orders: 1, returns: 0, netSales: '0.0000' });
    });

    it('counts a burst of orders for one country exactly once each', async () => {
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, n) => shop.post('/orders', order(`burst-${n}`, { country: 'Burma', lines: [{ sku: 'A', quantity: 1, unitPrice: '1.0001' }] }))),
      );
      expect(answers.map(({ status }) => status)).toEqual(Array(40).fill(201));
      await expect
        .poll(async () => (await shop.get('/reports/country-sales')).list.find(({ country }) => country === 'Burma'), { timeout: 30_000 })
        .toEqual({ country: 'Burma', orders: 40, returns: 0, netSales: '40.0040' });
    });
  });

  describe('problems', () => {
    it('names every wrong field', async () => {
      const answer = await shop.post('/users', { id: 'not an id!', name: '', email: 'nowhere', role: 'admin' });
      expect(answer).toMatchObject({ status: 400, type: expect.stringContaining('application/problem+json') as string });
      expect(answer.body).toMatchObject({ status: 400, code: 'SHOP_INVALID', title: expect.any(String) as string, type: expect.stringContaining('urn:') as string });
      expect((answer.body.errors as { field: string }[]).map(({ field }) => field).toSorted()).toEqual(['email', 'id', 'name', 'role']);
    });

    it('names fields inside lists', async () => {
      const answer = await shop.post('/orders', order('bad', { lines: [line, { ...line, quantity: 0, unitPrice: 'free' }] }));
      expect(answer.status).toBe(400);
      expect((answer.body.errors as { field: string }[]).map(({ field }) => field).toSorted()).toEqual(['lines[1].quantity', 'lines[1].unitPrice']);
    });

    it.each([
      ['GET', '/users/nobody', 404, 'SHOP_USER_NOT_FOUND'],
      ['GET', '/orders/nothing', 404, 'SHOP_ORDER_NOT_FOUND'],
      ['GET', '/customers/nobody/spending', 404, 'SHOP_CUSTOMER_NOT_FOUND'],
      ['PATCH', '/users/nobody', 404, 'SHOP_USER_NOT_FOUND'],
      ['POST', '/orders/nothing/cancel', 404, 'SHOP_ORDER_NOT_FOUND'],
      ['GET', '/no/such/route', 404, 'ROUTE_NOT_FOUND'],
      ['GET', '/users?limit=0', 400, 'SHOP_INVALID'],
      ['GET', '/users?cursor=%25%25', 400, 'SHOP_CURSOR_INVALID'],
    ])('%s %s is %i %s', async (method, path, status, code) => {
      const answer = await shop.send(method, path, method === 'PATCH' ? { name: 'X' } : undefined);
      expect(answer).toMatchObject({ status, type: expect.stringContaining('application/problem+json') as string, body: { status, code } });
    });

    it('refuses a body that is no JSON, without repeating it', async () => {
      const answer = await shop.post('/users', '{"name": s3cret');
      expect(answer).toMatchObject({ status: 400, body: { code: 'REQUEST_UNREADABLE' } });
      expect(JSON.stringify(answer.body)).not.toContain('s3cret');
    });

    it('refuses a body above 1 MiB with 413, and takes one just below', async () => {
      const sized = (bytes: number) => JSON.stringify({ name: 'x'.repeat(bytes), email: 'big@example.com' });
      expect(await shop.post('/users', sized(1_048_577))).toMatchObject({
        status: 413,
        type: expect.stringContaining('application/problem+json') as string,
        body: { code: 'BODY_TOO_LARGE' },
      });
      expect(await shop.post('/users', sized(1_000_000))).toMatchObject({ status: 400, body: { code: 'SHOP_INVALID' } });
    });

    it('refuses a token that is none', async () => {
      expect(await shop.get('/users/ann', 'not-a-token')).toMatchObject({ status: 400, body: { code: 'TANDEM_TOKEN_INVALID' } });
    });

    it('lets one of two users have an e-mail address, however close they come', async () => {
      const answers = await Promise.all(['t1', 't2', 't3', 't4'].map((id) => shop.post('/users', { id, name: 'Twin', email: 'twin@example.com' })));
      expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409, 409, 409]);
    });
  });

  describe('operation', () => {
    it('reports what was executed, as text and as JSON', async () => {
      const text = await shop.send('GET', '/ops/report');
      expect(text).toMatchObject({ status: 200, type: expect.stringContaining('text/plain') as string });
      expect(text.body.text).toMatch(/CreateUser +\d+/);
      const json = await shop.send('GET', '/ops/report', undefined, { Accept: 'application/json' });
      expect(json.body).toMatchObject({ commands: expect.arrayContaining([expect.objectContaining({ type: 'CreateUser', executions: expect.any(Number) as number })]) as unknown });
    });

    it('tells how far the read side is, and brings it to the end', async () => {
      await expect
        .poll(async () => ((await shop.get('/ops/status')).body.consumers as { lag: number; state: string }[]).map(({ lag, state }) => `${state} ${lag}`), { timeout: 30_000 })
        .toSatisfy((states: string[]) => states.length >= 5 && states.every((state) => state === 'running 0'));
    });

    it('keeps operators of other machines out', async () => {
      expect(await shop.send('GET', '/ops/status', undefined, { 'X-Forwarded-For': '127.0.0.1' })).toMatchObject({
        status: 403,
        type: expect.stringContaining('application/problem+json') as string,
      });
    });

    it('has Swagger at /docs, with every route', async () => {
      expect((await shop.get('/docs')).body.text).toContain('swagger');
      const { body } = await shop.get('/docs-json');
      expect(Object.keys(body.paths as object)).toEqual(
        expect.arrayContaining([
          '/users',
          '/users/{id}',
          '/users/count',
          '/orders',
          '/orders/{id}',
          '/orders/{id}/cancel',
          '/returns',
          '/customers/{id}/spending',
          '/reports/country-sales',
        ]),
      );
    });
  });
});
