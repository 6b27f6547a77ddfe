import type { OpsService, OpsStatus } from 'nest-tandem/ops';
import { describe, expect, it } from 'vitest';
import { explain } from './process-life.js';
import { ReadSide } from './read-side.js';

const consumer = (state: string, lag: number) => ({ consumer: 'sales.by-country', state, lag });
const readSide = (...looks: object[]) =>
  new ReadSide({ status: () => Promise.resolve({ jobs: [], parkedJobs: [], deadLetters: [], ...looks.shift() } as unknown as OpsStatus) } as OpsService);

describe('the read side', () => {
  it('has caught up when nothing lags', async () => {
    const seen: number[] = [];
    const behind = readSide({ consumers: [consumer('running', 3)] }, { consumers: [consumer('running', 0)], jobs: [{ name: 'mail', state: 'waiting', count: 2 }] });
    expect(await behind.caughtUp({ onProgress: ({ lag }) => seen.push(lag) })).toMatchObject({ lag: 0, jobsOpen: 2 });
    expect(seen).toEqual([3, 0]);
  });

  it('says in one line what does not move by itself', async () => {
    const error: unknown = await readSide({ consumers: [consumer('halted', 3)] })
      .caughtUp()
      .catch((thrown: unknown) => thrown);
    expect(explain(error)).toMatch(/^the read side does not catch up by itself: sales\.by-country is halted\./);
  });
});
