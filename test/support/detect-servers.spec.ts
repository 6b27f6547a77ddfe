import { afterEach, describe, expect, it, vi } from 'vitest';
import type { TestProject } from 'vitest/node';
import { setup } from './detect-servers.js';
import { OwnRedis } from './own-redis.js';

const NOBODY = 'redis://127.0.0.1:9';

/** What the set-up provides, and what it says. */
async function detect(): Promise<{ found: unknown; said: string }> {
  let found: unknown;
  const said: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
  try {
    await setup({ provide: (_key: string, value: unknown) => (found = value) } as unknown as TestProject);
  } finally {
    vi.restoreAllMocks();
  }
  return { found, said: said.join('') };
}

describe('detecting servers', { timeout: 60_000 }, () => {
  const available = OwnRedis.available;
  afterEach(() => {
    vi.unstubAllEnvs();
    Object.assign(OwnRedis, { available });
  });

  it('names what is left out in one line, also a redis-server to start and kill', async () => {
    vi.stubEnv('TANDEM_REQUIRE_SERVICES', '');
    vi.stubEnv('TANDEM_TEST_REDIS_URL', NOBODY);
    Object.assign(OwnRedis, { available: false });
    const { found, said } = await detect();
    expect(said).toMatch(/^left out: [^\n]*Redis \(no server at 127\.0\.0\.1:9[^\n]*\n$/);
    expect(said).toContain('outages of Redis (no redis-server on the PATH');
    expect(found).not.toHaveProperty('redis');
    // Their applications would have no queue.
    for (const key of ['mariadb', 'mysql', 'ownMariadb', 'ownMysql']) expect(found).not.toHaveProperty(key);
  });

  it('fails where everything is required', async () => {
    vi.stubEnv('TANDEM_REQUIRE_SERVICES', '1');
    Object.assign(OwnRedis, { available: false });
    await expect(detect()).rejects.toThrow(/TANDEM_REQUIRE_SERVICES=1, but missing: .*outages of Redis/);
  });

  it('refuses a variable that is no URL, without repeating it', async () => {
    for (const wrong of ['s3cret', 'root:s3cret@nowhere', 'postgres:s3cret', 'postgres://u:s3cret@host:port']) {
      vi.stubEnv('TANDEM_TEST_POSTGRES_URL', wrong);
      await expect(detect()).rejects.toThrow(/^TANDEM_TEST_POSTGRES_URL is not a URL such as postgres:\S+$/);
    }
  });
});
