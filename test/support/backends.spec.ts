import { Redis } from 'ioredis';
import { DataSource } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { redisBackend, sqlBackends } from './backends.js';

describe.each(sqlBackends())('$name as a test database', (backend) => {
  it('is fresh each time, takes concurrent connections and is gone after drop', async () => {
    const one = await backend.create();
    const two = await backend.create();
    const sources = await Promise.all([one, two].map((database) => new DataSource({ ...database.dataSourceOptions }).initialize()));
    await Promise.all(sources.map((source) => source.query('CREATE TABLE only_here (id INT PRIMARY KEY)')));
    await Promise.all(Array.from({ length: 10 }, (_, id) => sources[0]!.query(`INSERT INTO only_here VALUES (${id})`)));
    expect(await sources[0]!.query('SELECT id FROM only_here')).toHaveLength(10);
    expect(await sources[1]!.query('SELECT id FROM only_here')).toHaveLength(0);

    await Promise.all(sources.map((source) => source.destroy()));
    await Promise.all([one.drop(), two.drop()]);
    await expect(new DataSource({ ...one.dataSourceOptions }).initialize()).rejects.toThrow();
  });
});

const redis = redisBackend();
describe.runIf(redis)('Redis as a test backend', () => {
  it('removes the keys of its own namespace and no others', async () => {
    const mine = redis!.namespace();
    const other = redis!.namespace();
    const client = new Redis(redis!.url);
    await client.mset(`${mine.prefix}:a`, '1', `{${mine.prefix}}:b`, '1', `${other.prefix}:a`, '1');

    await mine.cleanUp();
    expect(await client.mget(`${mine.prefix}:a`, `{${mine.prefix}}:b`, `${other.prefix}:a`)).toEqual([null, null, '1']);

    await other.cleanUp();
    client.disconnect();
  });
});
