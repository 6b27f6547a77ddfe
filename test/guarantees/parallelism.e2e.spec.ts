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
const several: unknown = expect.toSatisfy((count: number) => count > 1, 'more than one');

/** How many batches of the projection were at their rows at once: of all applications, and of the one that had most. */
function watchBatches(apps: readonly INestApplicationContext[]): { ofAll: number; ofOne: number } {
  const most = { ofAll: 0, ofOne: 0 };
  let all = 0;
  for (const app of apps) {
    let own = 0;
    const rows = app.get(RowStore, { strict: false });
    const load = rows.load.bind(rows);
    vi.spyOn(rows, 'load').mockImplementation(async (unit, entity, keys) => {
      if (entity !== Trail) return load(unit, entity, keys);
      most.ofAll = Math.max(most.ofAll, ++all);
      most.ofOne = Math.max(most.ofOne, ++own);
      try {
        return await load(unit, entity, keys);
      } finally {
        all--;
        own--;
      }
    });
  }
  return most;
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
    { parallelism: 1, lanes: { ofAll: 1, ofOne: 1 } },
    { parallelism: undefined, lanes: { ofAll: several, ofOne: several } },
    { parallelism: 16, lanes: { ofAll: several, ofOne: several } },
  ])('with parallelism $parallelism', ({ parallelism, lanes }) => {
    it('takes every event once and in the order of its stream, in as many lanes as it may', async () => {
      deployment = await Deployment.begin(backend);
      const api = await deployment.application({ parallelism }, 'api');
      let seen: object = {};
      await readBy(api, async () => {
        const worker = () => deployment.application({ parallelism, batchSize: BATCH }, 'worker');
        const workers = [await worker(), await worker()];
        seen = watchBatches(workers);
        return workers;
      });
      expect(seen).toEqual(lanes);
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
