import type { QueryRunner } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import type { Holder, PoolPlace } from './connection-pools.js';
import { withinTime } from './within-time.js';

/**
 * A query runner for what the application does outside of units of work. Its connection is waited for as long as that of a unit:
 * mysql2 has no limit of its own, so ten handlers that each hold a connection and ask for a second one would hang for ever.
 */
export function outsideRunner(pool: PoolPlace, mode?: 'master' | 'slave'): QueryRunner {
  const runner = pool.newRunner(mode);
  const connect = runner.connect.bind(runner) as () => Promise<unknown>;
  const release = runner.release.bind(runner);
  const giveBack = async () => {
    pool.leave(holder);
    await release();
  };
  const holder: Holder = {
    cutOff: async (error: TandemError) => {
      Object.assign(runner, { query: () => Promise.reject(error) });
      await giveBack();
    },
  };
  // It was released while it waited, and PostgreSQL's would not let itself be released twice.
  const giveBackLate = () => {
    Object.assign(runner, { isReleased: false });
    return release();
  };
  let connected: Promise<unknown> | undefined;
  const connectOnce = async () => {
    pool.enter(holder);
    try {
      return await withinTime(connect(), pool, giveBackLate);
    } catch (error) {
      pool.leave(holder);
      throw error;
    }
  };
  return Object.assign(runner, { connect: () => (connected ??= connectOnce()), release: giveBack });
}
