/** Waits until nothing is left to do. Uses SQL alone: what the library says of itself is not asked. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet } from './fleet.js';

const LOOK_EVERY_MS = 500;

export interface Remains {
  /** Consumer → events that it has not read. */
  readonly lags: Readonly<Record<string, number>>;
  /** Consumers that do not run, with why. */
  readonly stopped: readonly string[];
  readonly openJobs: number;
  readonly retrying: number;
  /** What is left of rebuilds. */
  readonly rebuilding: readonly string[];
}

export async function remains(fleet: Fleet): Promise<Remains> {
  const lags = await fleet.sql<{ name: string; behind: number | string | null; state: string; reason: string | null }>(
    `SELECT c.name, c.state, c.state_reason AS reason, SUM(s.head - p.seq) AS behind FROM tandem_consumer c
     JOIN tandem_checkpoint p ON p.consumer = c.name AND p.generation = c.live_generation JOIN tandem_shard s ON s.shard = p.shard GROUP BY c.name, c.state, c.state_reason`,
  );
  const [jobs] = await fleet.sql<{ n: number }>("SELECT COUNT(*) AS n FROM tandem_job WHERE state IN ('held', 'waiting', 'running')");
  const [retrying] = await fleet.sql<{ n: number }>("SELECT COUNT(*) AS n FROM tandem_dead_letter WHERE state <> 'parked'");
  const rebuilds = await fleet.sql<{ consumer: string; state: string; reason: string | null }>('SELECT consumer, state, state_reason AS reason FROM tandem_rebuild');
  const shadows = await fleet.sql<{ name: string }>("SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE '%\\_\\_g%'");
  return {
    lags: Object.fromEntries(lags.filter(({ behind }) => Number(behind) > 0).map(({ behind, name }) => [name, Number(behind)])),
    stopped: lags.filter(({ state }) => state !== 'running').map(({ name, reason, state }) => `${name} is ${state}: ${reason}`),
    openJobs: Number(jobs!.n),
    retrying: Number(retrying!.n),
    rebuilding: [...rebuilds.map(({ consumer, reason, state }) => `${consumer} is ${state}${reason ? `: ${reason}` : ''}`), ...shadows.map(({ name }) => `${name} is left`)],
  };
}

const isNothing = ({ lags, openJobs, rebuilding, retrying }: Remains): boolean => Object.keys(lags).length === 0 && openJobs === 0 && rebuilding.length === 0 && retrying === 0;

/** What was left when it had settled, or when time was up. */
export async function settled(fleet: Fleet, withinMs: number): Promise<Remains> {
  const deadline = Date.now() + withinMs;
  // Twice in a row: one look is several statements.
  for (let calm = 0; ;) {
    const left = await remains(fleet);
    calm = isNothing(left) ? calm + 1 : 0;
    if (calm === 2 || Date.now() > deadline) return left;
    await sleep(LOOK_EVERY_MS);
  }
}
