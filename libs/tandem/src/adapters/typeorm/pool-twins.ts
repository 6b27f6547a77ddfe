import { Logger } from '@nestjs/common';
import { KEPT_IDLE_MS, MYSQL_SESSION } from './session-settings.js';

/** A driver module as TypeORM takes it by its option `driver`, and more pools like the one that TypeORM makes with it. */
export interface PoolTwins {
  readonly driver: unknown;
  /** How many connections TypeORM's own pool holds at most. */
  readonly size: number;
  /** Another pool with the same settings and, on MySQL, `more` of them, which connects when somebody asks it to. Undefined before TypeORM has made its own. */
  open(size: number, more: readonly string[]): TwinPool | undefined;
}

export interface TwinPool {
  end(done: (error?: Error | null) => void): void;
}

/** The default of both drivers, and so of TypeORM. */
const DRIVERS_POOL_SIZE = 10;
const CONNECT_WITHIN_MS = 10_000;

type Taken = (error: Error | null, session?: Session) => void;
interface MysqlPool extends TwinPool {
  on(event: 'connection', listener: (session: Session) => void): unknown;
  getConnection(taken: Taken): void;
}
interface Session {
  /** When it was opened or came back to the pool, in milliseconds since the epoch. Other drivers than mysql2 do not tell: their sessions are used whatever their age. */
  readonly lastActiveTime?: number;
  query(text: string, callback: (error: Error | null) => void): unknown;
  destroy(): void;
}
interface MysqlConfig {
  readonly connectionLimit?: number;
}
export interface MysqlDriver {
  createPool(config: MysqlConfig): MysqlPool;
}

/** @param endsIdle whether the server ends sessions outside of a transaction, too. */
export function mysqlTwins(driver: MysqlDriver, endsIdle: () => boolean): PoolTwins {
  let config: MysqlConfig | undefined;
  const create = (given: MysqlConfig, more: readonly string[] = []) => withoutEnding(withSessionSettings(driver.createPool(given), [...MYSQL_SESSION, ...more]), endsIdle);
  return {
    driver: Object.create(driver, { createPool: { value: (given: MysqlConfig) => create((config = given)) } }) as unknown,
    get size() {
      return config?.connectionLimit ?? DRIVERS_POOL_SIZE;
    },
    open: (size, more) => config && create({ ...config, connectionLimit: size }, more),
  };
}

function withSessionSettings(pool: MysqlPool, settings: readonly string[]): MysqlPool {
  pool.on('connection', (session) => {
    for (const text of settings) {
      // Queued before the first statement of whoever waits for the connection. Without its settings it must not be used.
      session.query(text, (error) => {
        if (!error) return;
        new Logger('Tandem').error(`A database session refused its settings and was closed: ${error.message}`);
        session.destroy();
      });
    }
  });
  return pool;
}

/** A session that is used in the moment in which the server ends it meets an answer that it has not asked for: one that has idled for nearly as long is closed instead, and another one taken. */
function withoutEnding(pool: MysqlPool, endsIdle: () => boolean): MysqlPool {
  const take = pool.getConnection.bind(pool);
  pool.getConnection = (taken) =>
    take((error, session) => {
      const isEnding = session?.lastActiveTime !== undefined && endsIdle() && Date.now() - session.lastActiveTime >= KEPT_IDLE_MS;
      if (!isEnding) return taken(error, session);
      session.destroy();
      pool.getConnection(taken);
    });
  return pool;
}

interface PgPool extends TwinPool {
  on(event: 'error', listener: (error: Error) => void): unknown;
}
interface PgConfig {
  readonly max?: number;
  readonly connectionTimeoutMillis?: number;
  readonly password?: unknown;
}
type PgClientClass = new (config: PgConfig) => { on(event: 'error', listener: () => void): unknown };
type PgPoolClass = new (config: PgConfig & { readonly Client?: PgClientClass }) => PgPool;
export interface PgDriver {
  readonly Client: PgClientClass;
  readonly Pool: PgPoolClass;
}

/** @param onIdleError told when a connection is lost that nobody uses: without a listener that would end the process. */
export function postgresTwins(driver: PgDriver, onIdleError: (error: Error) => void): PoolTwins {
  let config: PgConfig | undefined;
  /** mysql2 has such a limit by itself. The pool's own would also cut short the wait for a connection that others have. */
  class ImpatientClient extends driver.Client {
    constructor(given: PgConfig) {
      // The pool hides the password from a spread.
      super({ ...given, password: given.password, connectionTimeoutMillis: given.connectionTimeoutMillis || CONNECT_WITHIN_MS });
      // The pool hears its idle clients, and who has taken one hears that, but a moment later: an error that nobody hears would end the process. The next statement tells it.
      this.on('error', () => undefined);
    }
  }
  class RememberedPool extends driver.Pool {
    constructor(given: PgConfig) {
      super({ Client: ImpatientClient, ...given });
      config = { Client: ImpatientClient, ...given } as PgConfig;
    }
  }
  return {
    driver: Object.create(driver, { Pool: { value: RememberedPool, enumerable: true } }) as unknown,
    get size() {
      return config?.max ?? DRIVERS_POOL_SIZE;
    },
    open(size) {
      if (!config) return undefined;
      const pool = new driver.Pool({ ...config, max: size });
      pool.on('error', onIdleError);
      return pool;
    },
  };
}
