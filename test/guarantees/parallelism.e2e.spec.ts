/** A projection whose rows have a stream each, in one lane and in many, by several workers, with a backlog and under concurrent writers. */
import type { INestApplicationContext } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { Consumers, RowStore } from 'nest-tandem';
import { tandem } from 'nest-tandem/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { describeServers, sqlServers } from '../support/backends.js';
import { inLanes } from '../support/in-lanes.js';
import { Deployment } from './releases/deployment.js';
import { Note, Trail } from './releases/release.js';
import { Writers } from './releases/traffic.js';

const CONSUMERS = ['roll.trails', 'roll.crowds', 'roll.old-view', 'roll.letters'];
const THINGS = 50;
const BATCH = 40;

/** Batches of the projection that are at their rows at once, in these applications. */
function watchBatches(apps: readonly INestApplicationContext[]): { most: number } {
  const seen = { now: 0, most: 0 };
  for (const app of apps) {
    const rows = app.get(RowStore, { strict: false });
    const load = rows.load.bind(rows);
    vi.spyOn(rows, 'load').mockImplementation(async (unit, entity, keys) => {
      if (entity !== Trail) return load(unit, entity, keys);
      seen.most = Math.max(seen.most, ++seen.now);
      try {
        return await load(unit, entity, keys);
      } finally {
        seen.now--;
      }
    });
  }
  return seen;
}

describeServers('a projection on $name', sqlServers(), (backend) => {
  let deployment: Deployment;
  afterEach(() => deployment.end());

  /** More than many batches take. */
  const backlog = async (api: INestApplicationContext): Promise<void> => {
    const notes = Array.from({ length: THINGS }, (_, n) => [`thing${n}`, n] as const);
    const turned = Array.from({ length: 40 }, (_, turn) => [...notes.slice(turn), ...notes.slice(0, turn)]);
    await inLanes(turned, 4, (each) => api.get(CommandBus).execute(new Note(each)));
  };
  /** While there are writers too. */
  const readBy = async (api: INestApplicationContext, startWorkers: () => Promise<readonly INestApplicationContext[]>): Promise<void> => {
    const consumers = api.get(Consumers);
    await consumers.pause('roll.trails', 'so that all workers begin with the whole backlog');
    await backlog(api);
    const workers = await startWorkers();
    const writers = new Writers(api, { name: 'api', events: 1 });
    await consumers.resume('roll.trails');
    // Each at once: by itself the second one may look when the first one has done it all.
    const caughtUp = Promise.all(workers.map((worker) => tandem(worker).idle({ timeoutMs: 90_000 })));
    await deployment.traffic(100);
    expect(await writers.rest()).toMatchObject({ wrong: [] });
    await caughtUp;
    await deployment.settled(CONSUMERS);
    await deployment.expectTrails(['trails', 'old']);
  };

  describe.each([
    { parallelism: 1, ofFleet: [1] },
    { parallelism: undefined, ofFleet: [2, 3, 4, 5, 6, 7, 8] },
    { parallelism: 16, ofFleet: [2, 3, 4, 5, 6, 7, 8] },
  ])('with parallelism $parallelism', ({ parallelism, ofFleet }) => {
    it('takes every event once and in the order of its stream, in as many lanes as it may', async () => {
      deployment = await Deployment.begin(backend);
      const api = await deployment.application({ parallelism }, 'api');
      let lanes = { most: 0 };
      await readBy(api, async () => {
        const worker = () => deployment.application({ parallelism, batchSize: BATCH }, 'worker');
        const workers = [await worker(), await worker()];
        lanes = watchBatches(workers);
        return workers;
      });
      expect(ofFleet).toContain(lanes.most);
    });
  });

  it('with parallelism 16 and three worker processes takes every event once and in the order of its stream', async () => {
    deployment = await Deployment.begin(backend);
    const release = { parallelism: 16, batchSize: BATCH };
    await readBy(await deployment.application(release, 'api'), async () => {
      await Promise.all([1, 2, 3].map(() => deployment.process(release, 'worker')));
      return [];
    });
  });
});
