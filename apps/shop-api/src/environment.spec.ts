import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parseEnvironment } from './environment.js';

const messageOf = (given: NodeJS.ProcessEnv): string => {
  try {
    parseEnvironment(given);
  } catch (error) {
    return (error as Error).message;
  }
  return 'nothing was wrong';
};
const MYSQL = 'mysql://shop:s3cret-word@db.example:3306/shop';

describe('the environment', () => {
  it('needs nothing: the defaults are the embedded set-up', () => {
    expect(parseEnvironment({})).toEqual({ port: 3000, host: '127.0.0.1', dataDir: '.data', queuePrefix: 'shop', role: 'all', logLevel: 'info' });
  });

  it('takes the flagship: MySQL with Redis', () => {
    expect(parseEnvironment({ DATABASE_URL: MYSQL, REDIS_URL: 'redis://127.0.0.1:6379', TANDEM_ROLE: 'api', PORT: '0' })).toMatchObject({
      databaseUrl: MYSQL,
      role: 'api',
      port: 0,
    });
  });

  it('takes PostgreSQL alone, which carries the queues itself', () => {
    expect(parseEnvironment({ DATABASE_URL: 'postgres://shop@db/shop' })).toMatchObject({ databaseUrl: 'postgres://shop@db/shop', redisUrl: undefined });
  });

  it('treats an empty variable as unset', () => {
    expect(parseEnvironment({ DATABASE_URL: '', REDIS_URL: ' ', PORT: '' })).toMatchObject({ port: 3000, databaseUrl: undefined });
  });

  it('names every wrong variable at once, with what was expected', () => {
    const message = messageOf({
      PORT: 'http',
      DATABASE_URL: 'oracle://db/shop',
      REDIS_URL: '6379',
      TANDEM_ROLE: 'boss',
      OPS_TOKEN: 'short',
      LOG_LEVEL: 'loud',
      QUEUE_PREFIX: 'a:b',
    });
    for (const name of ['PORT', 'DATABASE_URL', 'REDIS_URL', 'TANDEM_ROLE', 'OPS_TOKEN', 'LOG_LEVEL', 'QUEUE_PREFIX']) expect(message).toContain(`${name} is wrong, expected `);
    expect(message).toContain('a whole number from 0 to 65535');
    expect(message).toContain('all, api or worker');
  });

  it.each(['-1', '70000', '3000.5', 'x', '1e99'])('refuses port %s', (PORT) => {
    expect(messageOf({ PORT })).toBe('PORT is wrong, expected a whole number from 0 to 65535');
  });

  it.each(['oracle://shop:s3cret-word@db/shop', 's3cret-word', 'mysql://shop:s3cret-word@db:3306', 'mysql://shop:s3cret-word@db:33o6/shop'])(
    'never repeats the value of a URL (%#)',
    (DATABASE_URL) => {
      const message = messageOf({ DATABASE_URL, REDIS_URL: 'http://s3cret-word' });
      expect(message).toContain('DATABASE_URL is wrong');
      expect(message).not.toContain('s3cret-word');
    },
  );

  it('says that MySQL needs Redis', () => {
    expect(messageOf({ DATABASE_URL: MYSQL })).toBe('REDIS_URL is wrong, expected to be set when DATABASE_URL is mysql://: MySQL does not carry the queues');
  });

  it('refuses a role of its own on the embedded default, which has one process', () => {
    expect(messageOf({ TANDEM_ROLE: 'worker' })).toContain('TANDEM_ROLE is wrong, expected all');
  });

  it('has its defaults written down in .env.example, and that file is right', () => {
    const text = readFileSync(new URL('../../../.env.example', import.meta.url), 'utf8');
    expect(parseEnvironment(parseEnv(text) as NodeJS.ProcessEnv)).toEqual(parseEnvironment({}));
    expect([...text.matchAll(/^#?([A-Z_]+)=/gm)].map((match) => match[1]).toSorted()).toEqual(
      ['DATABASE_URL', 'DATABASE_URL', 'DATA_DIR', 'HOST', 'LOG_LEVEL', 'OPS_TOKEN', 'PORT', 'QUEUE_PREFIX', 'REDIS_URL', 'TANDEM_ROLE'].toSorted(),
    );
  });
});
