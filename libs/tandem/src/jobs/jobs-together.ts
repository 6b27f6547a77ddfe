/**
 * Runs jobs of one command together: one after the other in one unit of work, which commits what all of them wrote and that they are done. Where one fails, nothing of it
 * is kept: that one is given back, to run alone, and the others run again without it. Where nobody can tell which one was at fault, or several were, each runs alone.
 */
import { TandemError } from '../kernel/errors.js';
import type { Unit, UnitOfWork } from '../kernel/unit-of-work.js';
import { failureText } from './failure-text.js';
import { isWhole, noteTogether } from './job-effect.js';
import type { ClaimedJob, JobStore } from './job-store.js';
import type { QueuedCommandDefinition } from './queued-command.js';
import { type RunningJob, type RunningJobs, runOf } from './running-jobs.js';

/** How often a batch is begun: each time it has one job fewer, and the work of the others was for nothing. */
const PASSES = 3;

export interface TogetherPorts {
  readonly units: UnitOfWork;
  readonly store: JobStore;
  readonly runs: RunningJobs;
  /** Runs the handler of one. */
  readonly handle: (run: RunningJob) => Promise<void>;
}

/** Why a pass did not commit. */
interface Failure {
  readonly error: unknown;
  /** Whose handler threw, unless the database was at fault. */
  readonly by?: RunningJob;
}

export class JobsTogether {
  constructor(private readonly ports: TogetherPorts) {}

  /** Never rejects: what cannot be settled now is found by its lease. */
  async execute(jobs: readonly ClaimedJob[], definition: QueuedCommandDefinition): Promise<void> {
    const runs = jobs.map((job) => runOf(job, definition));
    await this.ports.runs.during(runs, () => this.passes(runs));
  }

  private async passes(all: readonly RunningJob[]): Promise<void> {
    let runs = all;
    for (let pass = 1; runs.length > 0; pass++) {
      const failure = await this.once(runs);
      if (!failure) return this.completeRest(runs);
      // The process stops, and has given all of them back.
      if (runs.some(({ handedBack }) => handedBack)) return;
      const { by, error } = failure;
      if (!by || pass === PASSES) return this.leave(runs, `they run again, each of them alone: ${failureText(error)}`);
      await this.leave([by], `it failed among ${runs.length} that ran together, and runs again alone: ${failureText(error)}`);
      runs = runs.filter((run) => run !== by);
    }
  }

  private async once(runs: readonly RunningJob[]): Promise<Failure | undefined> {
    const { runs: running, units } = this.ports;
    let by: RunningJob | undefined;
    const work = async (unit: Unit): Promise<void> => {
      noteTogether(
        unit,
        runs.map(({ job }) => job.id),
      );
      for (by of runs) await this.handleIn(unit, by);
      by = undefined;
    };
    try {
      await running.within(runs, () => units.run(work));
      return undefined;
    } catch (error) {
      return { error, by: units.isTransient(error) ? undefined : by };
    }
  }

  /** @throws also where the next one must not be begun in this unit. */
  private async handleIn(unit: Unit, run: RunningJob): Promise<void> {
    if (run.handedBack || !unit.isOpen) throw new Error('the unit of work had ended before its turn');
    await this.ports.handle(run);
    if (unit.doomedBy !== undefined) throw new TandemError('TANDEM_UNIT_OF_WORK_DOOMED', 'its handler has caught an error that ended the transaction', { cause: unit.doomedBy });
    if (!isWhole(unit, run.job.id)) throw new Error('an interceptor answered for its handler, which had failed, was called twice or had not ended');
  }

  /** Those whose handlers were not called: an interceptor has answered. */
  private async completeRest(runs: readonly RunningJob[]): Promise<void> {
    const { runs: running, store } = this.ports;
    const rest = runs.filter(({ completed, handedBack }) => !completed && !handedBack);
    await Promise.all(rest.map(({ job }) => store.complete(job).catch((error: unknown) => running.foundByLease([job], error))));
  }

  private async leave(runs: readonly RunningJob[], reason: string): Promise<void> {
    for (const run of runs) run.handedBack = true;
    await this.ports.runs.giveBack(
      runs.map(({ job }) => job),
      reason,
      0,
    );
  }
}
