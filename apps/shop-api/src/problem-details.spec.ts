import { ForbiddenException, NotFoundException, PayloadTooLargeException } from '@nestjs/common';
import { ERROR_CATALOGUE, OptimisticConcurrencyError, TandemError, type TandemErrorCode } from 'nest-tandem';
import { ShopError } from 'shop';
import { describe, expect, it } from 'vitest';
import { InvalidRequest } from './invalid-request.js';
import { problemOf } from './problem-details.js';

const SECRET = 's3cret at /srv/app/orders.ts:17';

describe('problem details', () => {
  it.each([
    [new ShopError('SHOP_USER_NOT_FOUND', 'there is no user "x"'), 404, 'SHOP_USER_NOT_FOUND'],
    [new ShopError('SHOP_EMAIL_TAKEN', 'taken'), 409, 'SHOP_EMAIL_TAKEN'],
    [new OptimisticConcurrencyError('order-17', { expected: 4, actual: 5 }), 409, 'TANDEM_CONCURRENCY_CONFLICT'],
    [new TandemError('TANDEM_CONSISTENCY_TIMEOUT', 'too late'), 503, 'TANDEM_CONSISTENCY_TIMEOUT'],
    [new TandemError('TANDEM_TOKEN_INVALID', 'no token'), 400, 'TANDEM_TOKEN_INVALID'],
    [new TandemError('TANDEM_COMMAND_ID_CONFLICT', 'used before'), 409, 'TANDEM_COMMAND_ID_CONFLICT'],
    [new TandemError('TANDEM_COMMAND_IN_PROGRESS', 'not done'), 409, 'TANDEM_COMMAND_IN_PROGRESS'],
    [new NotFoundException('Cannot GET /x'), 404, 'ROUTE_NOT_FOUND'],
    [new PayloadTooLargeException(), 413, 'BODY_TOO_LARGE'],
    [new ForbiddenException('not you'), 403, 'FORBIDDEN'],
    [Object.assign(new Error('connect ECONNREFUSED 10.1.2.3:3306'), { code: 'ECONNREFUSED' }), 503, 'TANDEM_STORAGE_UNAVAILABLE'],
    [new Error('query failed', { cause: Object.assign(new Error('gone'), { code: '57P01' }) }), 503, 'TANDEM_STORAGE_UNAVAILABLE'],
    [new Error(SECRET), 500, 'INTERNAL'],
    [SECRET, 500, 'INTERNAL'],
    [undefined, 500, 'INTERNAL'],
  ])('%s is %i %s', (error, status, code) => {
    const problem = problemOf(error);
    expect(problem).toMatchObject({ status, code });
    expect(Object.keys(problem).toSorted()).toEqual(['code', 'detail', 'status', 'title', 'type']);
  });

  it('says of our own mistakes nothing but where to look', () => {
    const ours = (Object.keys(ERROR_CATALOGUE) as TandemErrorCode[]).map((code) => problemOf(new TandemError(code, SECRET))).filter(({ status }) => status === 500);
    expect(ours.length).toBeGreaterThan(10);
    for (const problem of [...ours, problemOf(new Error(SECRET))]) expect(JSON.stringify(problem)).not.toMatch(/s3cret|orders\.ts/);
    expect(JSON.stringify(problemOf(Object.assign(new Error(`${SECRET} refused`), { code: 'ECONNREFUSED' })))).not.toMatch(/s3cret/);
  });

  it('tells no more than a hundred fields, and how many there are', () => {
    const problem = problemOf(new InvalidRequest(Array.from({ length: 1_500 }, (_, n) => ({ field: `lines[${n}].sku`, message: 'sku is missing' }))));
    expect(problem.errors).toHaveLength(100);
    expect(problem.detail).toMatch(/^1500 fields are wrong: lines\[0\]\.sku, .*, …\.$/);
    expect(JSON.stringify(problem).length).toBeLessThan(10_000);
  });

  it('names every field, of requests and of messages alike', () => {
    expect(problemOf(new InvalidRequest([{ field: 'name', message: 'name must be a text' }]))).toMatchObject({
      status: 400,
      errors: [{ field: 'name', message: 'name must be a text' }],
    });
    const violations = [
      { path: 'lines[0].quantity', message: 'quantity must be above 0' },
      { path: '', message: 'orders need lines' },
    ];
    expect(problemOf(new TandemError('TANDEM_VALIDATION', 'PlaceOrder is not valid', { data: { violations } })).errors).toEqual([
      { field: 'lines[0].quantity', message: 'quantity must be above 0' },
      { field: '', message: 'orders need lines' },
    ]);
    expect(problemOf(new ShopError('SHOP_INVALID', 'name must be a text', { field: 'name', rule: 'must be a text' })).errors).toEqual([
      { field: 'name', message: 'name must be a text' },
    ]);
  });
});
