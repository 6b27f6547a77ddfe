import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { explain } from './process-life.js';

const withCode = (code: string) => Object.assign(new Error('as the driver says it'), { code });

describe('explain', () => {
  it.each([
    ['ER_ACCESS_DENIED_ERROR', 'user or password'],
    ['ER_ACCESS_DENIED_NO_PASSWORD_ERROR', 'user or password'],
    ['28P01', 'user or password'],
    ['28000', 'user or password'],
    ['ER_DBACCESS_DENIED_ERROR', 'may not use the database'],
    ['ER_BAD_DB_ERROR', 'does not exist'],
    ['3D000', 'does not exist'],
    ['ECONNREFUSED', 'does not answer'],
  ])('has one line for %s', (code, says) => {
    expect(explain(withCode(code))).toContain(says);
    expect(explain(withCode(code))).not.toContain('\n');
  });

  it('names HOST where it is no address of this machine', async () => {
    const error = await new Promise((resolve) => createServer().once('error', resolve).listen(0, '203.0.113.7'));
    expect(explain(error)).toContain('HOST');
  });

  it('leaves to a developer what only a developer can mend', () => {
    expect(explain(new TypeError('x is undefined'))).toBeUndefined();
  });
});
