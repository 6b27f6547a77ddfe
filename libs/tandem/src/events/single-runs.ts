/** One run per name at a time: who asks meanwhile shares it, and it goes round once more. */
export class SingleRuns {
  private readonly running = new Map<string, { again: boolean; done: Promise<void> }>();

  get size(): number {
    return this.running.size;
  }

  has(name: string): boolean {
    return this.running.has(name);
  }

  /** @throws what `work` throws. */
  run(name: string, work: () => Promise<void>, stop: AbortSignal): Promise<void> {
    const current = this.running.get(name);
    if (current) {
      current.again = true;
      return current.done;
    }
    const run = { again: false, done: Promise.resolve() };
    this.running.set(name, run);
    run.done = this.repeated(name, { run, work, stop });
    return run.done;
  }

  /** Resolves when what runs now has ended, one way or the other. */
  async ended(): Promise<void> {
    await Promise.allSettled([...this.running.values()].map(({ done }) => done));
  }

  private async repeated(name: string, { run, work, stop }: { run: { again: boolean }; work: () => Promise<void>; stop: AbortSignal }): Promise<void> {
    try {
      do {
        run.again = false;
        await work();
      } while (run.again && !stop.aborted);
    } finally {
      // In the same turn as the look at `again`: who comes later begins anew.
      this.running.delete(name);
    }
  }
}

/**
 * Runs `work` in one lane, and in one more, up to `most`, whenever a lane calls `more`. Waits for all of them.
 * @throws the first error, when every lane has ended.
 */
export async function inGrowingLanes(most: number, work: (more: () => void) => Promise<void>): Promise<void> {
  const lanes: Promise<PromiseSettledResult<void>>[] = [];
  let started = 0;
  const more = (): void => {
    if (started++ < most) lanes.push(Promise.allSettled([work(more)]).then(([result]) => result));
  };
  more();
  const results: PromiseSettledResult<void>[] = [];
  for (const lane of lanes) results.push(await lane); // also those that were added while it waited
  rethrowFirst(results);
}

/** Runs `work` in several lanes and waits for all of them. @throws the first error, when every lane has ended. */
export async function inLanes(lanes: number, work: () => Promise<void>): Promise<void> {
  rethrowFirst(await Promise.allSettled(Array.from({ length: lanes }, work)));
}

function rethrowFirst(results: readonly PromiseSettledResult<void>[]): void {
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
