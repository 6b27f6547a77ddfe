import type { DataSource, QueryRunner } from 'typeorm';
import { isWorker } from '../../kernel/connection-use.js';
import { TandemError } from '../../kernel/errors.js';
import { breakWhenSilent } from '../../kernel/silent-socket.js';
import { poolsOf } from './acquire.js';
import type { Holder } from './connection-pools.js';
import { dialectOf, linkTo } from './driver-link.js';
import { unitOn } from './typeorm-unit.js';
import { withinTime } from './within-time.js';

/**
 * A query runner for what the application does outside of units of work. Its connection is waited for as long as that of a unit:
 * mysql2 has no limit of its own, so ten handlers that each hold a connection and ask for a second one would hang for ever.
 */
export function outsideRunner(dataSource: DataSource, mode?: 'master' | 'slave'): QueryRunner {
  const pool = poolsOf(dataSource).placeFor(isWorker() ? 'worker' : 'outside');
  const runner = pool.newRunner(mode);
  const connect = runner.connect.bind(runner) as () => Promise<unknown>;
  const release = runner.release.bind(runner);
  let waiting = 0;
  let stopWatching: (() => void) | undefined;
  const giveBack = async () => {
    pool.leave(holder);
    stopWatching?.();
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
      const connection = await withinTime(connect(), pool, giveBackLate);
      const limitMs = pool.answerTimeoutMs();
      const { socket } = linkTo(connection, dialectOf(dataSource));
      if (limitMs > 0 && socket) stopWatching = breakWhenSilent(socket, { limitMs, isWaiting: () => waiting > 0 });
      return connection;
    } catch (error) {
      pool.leave(holder);
      throw error;
    }
  };
  const query = runner.query.bind(runner) as (...args: unknown[]) => Promise<unknown>;
  const stream = runner.stream.bind(runner) as (...args: unknown[]) => Promise<unknown>;
  /** Made outside, it may still be used inside. */
  const refuseInside = () => {
    if (unitOn(dataSource)) throw secondConnection();
  };
  return Object.assign(runner, {
    connect: () => (connected ??= connectOnce()),
    release: giveBack,
    query: async (...args: unknown[]) => {
      refuseInside();
      waiting++;
      try {
        return await query(...args);
      } finally {
        waiting--;
      }
    },
    stream: async (...args: unknown[]) => {
      refuseInside();
      return stream(...args);
    },
  } as Partial<QueryRunner>);
}

export const secondConnection = (): TandemError =>
  new TandemError('TANDEM_SECOND_CONNECTION', 'A second connection was asked for inside a unit of work, or a query runner from outside of it was used');
