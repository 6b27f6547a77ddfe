/** Two releases at once, as processes on one database, under traffic: nothing is skipped, doubled or out of order. */
import { afterEach, expect, it, vi } from 'vitest';
import { describeServers, sqlServers } from '../support/backends.js';
import { Deployment } from './releases/deployment.js';
import type { Release } from './releases/release.js';
import type { ReleaseProcess } from './releases/release-process.js';

const RELEASES: readonly Release[] = [
  {},
  // Writes an event type that the one before does not know, and has given a projection another name.
  { marks: true, view: 'new', retired: { consumers: ['roll.old-view'] } },
  { marks: true, view: 'new', retired: { consumers: ['roll.old-view'] }, noted: 2 },
];

const times = (text: string, pattern: RegExp): number => [...text.matchAll(new RegExp(pattern, 'g'))].length;

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 300_000 });

describeServers('a rolling deploy on $name', sqlServers(), (backend) => {
  let deployment: Deployment;
  afterEach(() => deployment.end());

  it('with one event type more, a renamed projection, and then a newer event schema applies every event once, in every consumer', async () => {
    deployment = await Deployment.begin(backend);
    const processes: ReleaseProcess[] = [];
    for (const [index, release] of RELEASES.entries()) {
      const next = await deployment.process(release);
      next.write({ name: `release${index}` });
      // Both releases write and work, until the older one goes.
      await deployment.traffic(200);
      const before = processes.at(-1);
      if (before) expect(await before.rest()).toMatchObject({ wrong: [] });
      await before?.stop();
      await deployment.traffic(100);
      processes.push(next);
    }
    const [first, second, third] = processes as [ReleaseProcess, ReleaseProcess, ReleaseProcess];
    expect(await third.rest()).toMatchObject({ wrong: [] });

    await deployment.settled(['roll.trails', 'roll.crowds', 'roll.new-view', 'roll.letters']);
    await deployment.expectTrails(['trails', 'new']);
    await deployment.expectCrowds();
    await deployment.expectLetters();
    expect(times(first.said, /roll\.trails does not run: another version of its code also handles roll\.marked/)).toBe(1);
    expect(times(second.said, /roll\.crowds does not run: roll\.crowds met roll\.noted of version 2, its code knows 1/)).toBe(1);
    expect(third.said).toBe('');
  });

  it('with a job more: a worker that does not know it gives it back to one that does, and each is done once, at its first attempt', async () => {
    deployment = await Deployment.begin(backend);
    const older = await deployment.process({});
    const newer = await deployment.process({ cards: true });
    older.write({ name: 'older' });
    newer.write({ name: 'newer' });
    await vi.waitFor(() => expect(older.said).toContain('this worker has no queued command "roll.send-card"'), { timeout: 120_000, interval: 50 });
    await deployment.traffic(100);
    expect(await older.rest()).toMatchObject({ wrong: [] });
    await older.stop();
    await deployment.traffic(50);
    expect(await newer.rest()).toMatchObject({ wrong: [] });
    await deployment.settled(['roll.trails', 'roll.crowds', 'roll.letters']);
    await deployment.expectLetters();
    await deployment.expectCards();
  });
});
