/** Two releases at once, as processes on one database, under traffic: nothing is skipped, doubled or out of order. */
import { afterEach, expect, it } from 'vitest';
import { describeServers, sqlServers } from '../support/backends.js';
import { Deployment } from './releases/deployment.js';
import type { Release } from './releases/release.js';

const OLDER: Release = {};
const NEWER: Release = { noted: 2, marks: true, view: 'new', retired: { consumers: ['roll.old-view'] } };

const times = (text: string, pattern: RegExp): number => [...text.matchAll(new RegExp(pattern, 'g'))].length;

describeServers('a rolling deploy on $name', sqlServers(), (backend) => {
  let deployment: Deployment;
  afterEach(() => deployment.end());

  it('with a newer event schema, an event type more and a renamed projection applies every event once, in every consumer', async () => {
    deployment = await Deployment.begin(backend);
    const [first, second] = await Promise.all([deployment.process(OLDER), deployment.process(OLDER)]);
    first.write({ name: 'first' });
    second.write({ name: 'second' });
    await deployment.traffic(200);

    // Both releases write and work, until the older ones go, one after the other.
    const third = await deployment.process(NEWER);
    third.write({ name: 'third' });
    await deployment.traffic(300);
    expect(await first.rest()).toMatchObject({ wrong: [] });
    await first.stop();
    await deployment.traffic(200);
    expect(await second.rest()).toMatchObject({ wrong: [] });
    await second.stop();
    await deployment.traffic(200);
    expect(await third.rest()).toMatchObject({ wrong: [] });

    await deployment.settled(['roll.trails', 'roll.crowds', 'roll.new-view', 'roll.letters']);
    await deployment.expectTrails(['trails', 'new']);
    await deployment.expectCrowds();
    await deployment.expectLetters();
    for (const { said } of [first, second]) {
      expect(times(said, /roll\.trails does not run: another version of its code also handles roll\.marked/)).toBe(1);
      expect(times(said, /roll\.crowds does not run: roll\.crowds met roll\.noted of version 2, its code knows 1/)).toBe(1);
    }
    expect(third.said).toBe('');
  });
});
