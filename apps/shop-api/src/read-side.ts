import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { isTandemError } from 'nest-tandem';
import { OpsService } from 'nest-tandem/ops';
import { CannotStart } from './process-life.js';

export interface ReadSideState {
  /** Events that some projection or saga has still to read, of the one that is furthest behind. */
  readonly lag: number;
  readonly jobsOpen: number;
  readonly jobsDone: number;
  /** What does not move by itself. */
  readonly stuck: readonly string[];
}

const LOOK_EVERY_MS = 200;
/** Of looks in a row that get no connection, 5 s each. */
const PATIENCE = 12;

/** How far the consequences of what was written have come, in the whole fleet. */
@Injectable()
export class ReadSide {
  constructor(private readonly ops: OpsService) {}

  async look(): Promise<ReadSideState> {
    const { consumers, jobs, parkedJobs, deadLetters } = await this.ops.status();
    const count = (...states: string[]) => jobs.filter(({ state }) => states.includes(state)).reduce((sum, job) => sum + job.count, 0);
    const stuck = [
      ...consumers.filter(({ state }) => state !== 'running').map(({ consumer, state }) => `${consumer} is ${state}`),
      ...deadLetters.filter(({ state }) => state === 'parked').map(({ consumer, stream, error }) => `${stream} is parked in ${consumer}: ${error}`),
      ...parkedJobs.map(({ id, name, lastError }) => `job ${id} (${name}) is parked: ${lastError}`),
    ];
    return { lag: Math.max(0, ...consumers.map(({ lag }) => lag)), jobsOpen: count('waiting', 'running'), jobsDone: count('done'), stuck };
  }

  /** Resolves when every projection and saga is at the head of the log. @throws the signal's reason; CannotStart naming what is stuck */
  async caughtUp(options: { readonly signal?: AbortSignal; readonly onProgress?: (state: ReadSideState) => void } = {}): Promise<ReadSideState> {
    for (;;) {
      options.signal?.throwIfAborted();
      const state = await this.lookPatiently();
      options.onProgress?.(state);
      if (state.lag === 0) return state;
      if (state.stuck.length > 0) throw new CannotStart(`the read side does not catch up by itself: ${state.stuck.join('; ')}. See GET /ops/status; what was written stays`);
      await sleep(LOOK_EVERY_MS);
    }
  }

  /** On the embedded default, which works serially, a large batch may keep everybody else waiting: that is the catching up itself. */
  private async lookPatiently(): Promise<ReadSideState> {
    for (let looks = 1; ; looks++) {
      try {
        return await this.look();
      } catch (error) {
        if (looks === PATIENCE || !isTandemError(error, 'TANDEM_ACQUIRE_TIMEOUT')) throw error;
      }
    }
  }
}
