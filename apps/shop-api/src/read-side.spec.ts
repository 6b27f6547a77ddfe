import { TandemError } from 'nest-tandem';
import type { OpsService, OpsStatus } from 'nest-tandem/ops';
import { describe, expect, it } from 'vitest';
import { explain } from './process-life.js';
import { ReadSide } from './read-side.js';

const consumer = (state: string, lag: number) => ({ consumer: 'sales.by-country', state, lag });
const status = (look: object): OpsStatus => ({ jobs: [], parkedJobs: [], deadLetters: [], ...look }) as unknown as OpsStatus;
const answer = (look: object): Promise<OpsStatus> => (look instanceof Error ? Promise.reject(look) : Promise.resolve(status(look)));
const readSide = (...looks: object[]) => new ReadSide({ status: () => answer(looks.shift()!) } as OpsService);

describe('the read side', () => {
  it('has caught up when nothing lags', async () => {
    const seen: number[] = [];
    const behind = readSide({ consumers: [consumer('running', 3)] }, { consumers: [consumer('running', 0)], jobs: [{ name: 'mail', state: 'waiting', count: 2 }] });
    expect(await behind.caughtUp({ onProgress: ({ lag }) => seen.push(lag) })).toMatchObject({ lag: 0, jobsOpen: 2 });
    expect(seen).toEqual([3, 0]);
  });

  it('is looked at again when a batch held every connection, and not when the database fails', async () => {
    const busy = new TandemError('TANDEM_ACQUIRE_TIMEOUT', 'busy');
    expect(await readSide(busy, busy, { consumers: [consumer('running', 0)] }).caughtUp()).toMatchObject({ lag: 0 });
    await expect(readSide(...Array<Error>(20).fill(busy)).caughtUp()).rejects.toBe(busy);
    await expect(readSide(new Error('gone')).caughtUp()).rejects.toThrow('gone');
  });

  it('says in one line what does not move by itself', async () => {
    const error: unknown = await readSide({ consumers: [consumer('halted', 3)] })
      .caughtUp()
      .catch((thrown: unknown) => thrown);
    expect(explain(error)).toMatch(/^the read side does not catch up by itself: sales\.by-country is halted\./);
  });
});
