/** Workers are stopped by SIGSTOP in the middle of a batch, between claim and COMMIT: the lock is the claim, so it has to end with the session. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandBus } from '@nestjs/cqrs';
import { afterEach, expect, it, vi } from 'vitest';
import { describeServers, sqlServers } from '../support/backends.js';
import { Deployment } from './releases/deployment.js';
import { FREEZING, Note } from './releases/release.js';
import { Writers } from './releases/traffic.js';

const CONSUMERS = ['roll.trails', 'roll.crowds', 'roll.old-view', 'roll.letters'];

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 300_000 });

describeServers('workers on $name', sqlServers(), (backend) => {
  let deployment: Deployment;
  afterEach(() => deployment.end());

  it('that are stopped in the middle of a batch lose it to another one, and when they continue they double nothing and work on', async () => {
    deployment = await Deployment.begin(backend);
    const api = await deployment.application({}, 'api');
    // One holds the checkpoints of some shards, the other one the whole of an unpartitioned consumer.
    const [inTrails, inCrowds] = await Promise.all([deployment.process({ freezesIn: 'roll.trails' }, 'worker'), deployment.process({ freezesIn: 'roll.crowds' }, 'worker')]);
    const writers = new Writers(api, { name: 'api', events: 1 });
    while (!inTrails.isFrozen || !inCrowds.isFrozen) {
      await api.get(CommandBus).execute(new Note([[FREEZING, 7]]));
      await sleep(20); // each of the two may have had the other one's event
    }

    const third = await deployment.process({}, 'worker');
    await deployment.traffic(100);
    expect(await writers.rest()).toMatchObject({ wrong: [] });
    await deployment.settled(CONSUMERS);
    expect([inTrails.isFrozen, inCrowds.isFrozen]).toEqual([true, true]);

    await third.stop();
    const note = (thing: string) => api.get(CommandBus).execute(new Note([['after', 7], [thing, 7], [FREEZING, 7]])); // prettier-ignore
    inTrails.thaw();
    await note('first-alone');
    await deployment.settled(CONSUMERS);
    await inTrails.stop();
    inCrowds.thaw();
    await note('second-alone');
    await deployment.settled(CONSUMERS);

    await deployment.expectTrails(['trails', 'old']);
    await deployment.expectCrowds();
    await deployment.expectLetters();
  });
});
