/** A projection is switched from one sync strategy to another by configuration, under traffic, process by process. */
import { afterEach, expect, it, vi } from 'vitest';
import { describeServers, sqlServers } from '../support/backends.js';
import { Deployment } from './releases/deployment.js';

const CONSUMERS = ['roll.trails', 'roll.crowds', 'roll.old-view', 'roll.letters'];

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

describeServers('a projection on $name', sqlServers(), (backend) => {
  let deployment: Deployment;
  afterEach(() => deployment.end());

  it('that is switched from immediate over batched, eventual and scheduled and back loses nothing, doubles nothing, and answers every token and strong query', async () => {
    deployment = await Deployment.begin(backend);
    const first = await deployment.process({ sync: 'immediate' });
    first.write({ name: 'first', immediate: true });
    await deployment.traffic(100);
    expect(await first.rest()).toMatchObject({ wrong: [] });

    // Beside the other strategy, a query without a token may see an older row.
    let before = first;
    before.write({ name: 'first-mixed' });
    for (const sync of ['batched', 'eventual', 'scheduled', 'immediate'] as const) {
      const next = await deployment.process({ sync });
      next.write({ name: sync });
      await deployment.traffic(200);
      expect(await before.rest()).toMatchObject({ wrong: [] });
      await before.stop();
      await deployment.traffic(100);
      before = next;
    }
    expect(await before.rest()).toMatchObject({ wrong: [] });

    // All are immediate again, and nothing waits: every query sees its caller's writes.
    await deployment.settled(CONSUMERS);
    before.write({ name: 'last', immediate: true });
    await deployment.traffic(100);
    expect(await before.rest()).toMatchObject({ wrong: [] });

    await deployment.settled(CONSUMERS);
    await deployment.expectTrails(['trails', 'old']);
    await deployment.expectCrowds();
    await deployment.expectLetters();
  });
});
