/**
 * The pools of a joined data source. What the application does outside of units of work has TypeORM's own; commands, queries and
 * workers have one each, made by the same driver with the same settings, which opens its first connection when it is first asked
 * for one. A pool of size 0 is none: who would use it shares TypeORM's. To TypeORM a pool is a driver: each has a copy of the data
 * source's driver that differs in its pool only.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, QueryRunner } from 'typeorm';
import type { ConnectionUse } from '../../kernel/connection-use.js';
import { TandemError } from '../../kernel/errors.js';
import type { PoolTwins, TwinPool } from './pool-twins.js';
import { NO_AUTOCOMMIT } from './session-settings.js';

export interface PoolSettings {
  /** Undefined: as many as TypeORM's own where that saves round trips (MariaDB), else 0. */
  readonly commandPoolSize: number | undefined;
  readonly queryPoolSize: number;
  readonly workerPoolSize: number;
  readonly acquireTimeoutMs: number;
  /** 0: no limit. By itself there is none: migrations, which may take long, run before `typeOrmStorage` has set it. */
  readonly answerTimeoutMs: number;
  /** Units of work end by themselves, committed or not; who closes the data source gives them this long. */
  readonly closeWithinMs: number;
}

export const POOL_DEFAULTS: PoolSettings = {
  commandPoolSize: undefined,
  queryPoolSize: 5,
  workerPoolSize: 8,
  acquireTimeoutMs: 5_000,
  answerTimeoutMs: 0,
  closeWithinMs: 5_000,
};

/** Where a connection is taken from, and how that is told when none is free. */
export interface PoolPlace {
  /** Its sessions have no autocommit: a transaction begins with its first statement. */
  readonly beginsByItself: boolean;
  newRunner(mode?: 'master' | 'slave'): QueryRunner;
  acquireTimeoutMs(): number;
  /** 0: no limit. */
  answerTimeoutMs(): number;
  /** @throws TANDEM_STORAGE_UNAVAILABLE while the pools are being closed. */
  enter(holder: Holder): void;
  leave(holder: Holder): void;
  full(): TandemError;
}

/** Who has a connection out. */
export interface Holder {
  /** Ends it whatever is done with it, for good. */
  cutOff(error: TandemError): Promise<void>;
}

interface OwnPool {
  readonly driver: DataSource['driver'];
  readonly pool: TwinPool;
}

const NAMES: Record<ConnectionUse, string> = { command: 'commands', query: 'queries', worker: 'workers', outside: 'code outside of units of work' };
const MAY_HAVE_OWN = ['command', 'query', 'worker'] as const;
const OPTION: Record<ConnectionUse, string> = {
  command: '`commandPoolSize` of typeOrmStorage',
  outside: '`poolSize` of the data source',
  query: '`queryPoolSize` of typeOrmStorage',
  worker: '`workerPoolSize` of typeOrmStorage',
};
const LOOK_EVERY_MS = 10;

export class ConnectionPools {
  private settings = POOL_DEFAULTS;
  private readonly own = new Map<ConnectionUse, OwnPool>();
  private readonly holders = new Set<Holder>();
  private closing = false;
  private mariaDb = false;
  private readonly places: Readonly<Record<ConnectionUse, PoolPlace>> = {
    command: this.newPlace('command'),
    query: this.newPlace('query'),
    worker: this.newPlace('worker'),
    outside: this.newPlace('outside'),
  };

  constructor(
    private readonly dataSource: DataSource,
    private readonly twins?: PoolTwins,
  ) {}

  /** Before the first connection of a pool is taken. */
  configure(settings: Partial<PoolSettings>): void {
    this.settings = { ...this.settings, ...Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) };
  }

  /** What `VERSION()` answered, when the data source was initialized. */
  noticeServer(version: string): void {
    this.mariaDb = version.includes('MariaDB');
  }

  /** It shares a dialect with MySQL, but only MariaDB has blocks of statements, and tells one whether it runs in a transaction. */
  get isMariaDb(): boolean {
    return this.mariaDb;
  }

  /** How many connections who takes one for this use may have out at once, with those who share the pool. */
  sizeFor(use: ConnectionUse): number {
    return this.sizeOfOwn(use) || (this.twins?.size ?? 0);
  }

  /** Each pool that there is, with its size. */
  shares(): readonly { readonly of: string; readonly atMost: number }[] {
    const sharing = MAY_HAVE_OWN.filter((use) => this.sizeOfOwn(use) === 0);
    const own = MAY_HAVE_OWN.filter((use) => this.sizeOfOwn(use) > 0);
    const shared = [...sharing, 'outside' as const].map((use) => NAMES[use]);
    return [...own.map((use) => ({ of: NAMES[use], atMost: this.sizeOfOwn(use) })), { of: shared.join(' and '), atMost: this.sizeFor('outside') }];
  }

  placeFor(use: ConnectionUse): PoolPlace {
    return this.places[use];
  }

  /** Waits for what is out, cuts off what does not come back, and ends the pools; TypeORM's own is ended by `end`. */
  async close(end: () => Promise<void>): Promise<void> {
    await this.comeBack();
    this.closing = true;
    try {
      await Promise.all([...this.holders].map((holder) => holder.cutOff(closed())));
      await end();
      const pools = [...this.own.values()];
      this.own.clear();
      await Promise.all(pools.map(({ pool }) => new Promise<void>((resolve, reject) => pool.end((error) => (error ? reject(error) : resolve())))));
    } finally {
      this.closing = false;
    }
  }

  /** Looks twice: whoever gives a connection back may be about to take the next. */
  private async comeBack(): Promise<void> {
    const until = Date.now() + this.settings.closeWithinMs;
    for (let quiet = 0; quiet < 2 && Date.now() < until; quiet = this.holders.size === 0 ? quiet + 1 : 0) await sleep(LOOK_EVERY_MS);
  }

  private newPlace(use: ConnectionUse): PoolPlace {
    const { holders } = this;
    const beginsByItself = () => use === 'command' && this.isMariaDb && this.sizeOfOwn(use) > 0;
    return {
      get beginsByItself() {
        return beginsByItself();
      },
      newRunner: (mode) => this.newRunner(use, mode),
      acquireTimeoutMs: () => this.settings.acquireTimeoutMs,
      answerTimeoutMs: () => this.settings.answerTimeoutMs,
      enter: (holder) => {
        if (this.closing) throw closed();
        holders.add(holder);
      },
      leave: (holder) => void holders.delete(holder),
      full: () => this.full(use),
    };
  }

  /** As `DataSource.createQueryRunner`, on this use's pool. Nothing is taken from it yet. */
  private newRunner(use: ConnectionUse, mode: 'master' | 'slave' = 'master'): QueryRunner {
    const runner = this.driverFor(use).createQueryRunner(mode);
    return Object.assign(runner, { manager: this.dataSource.createEntityManager(runner) });
  }

  private full(use: ConnectionUse): TandemError {
    const size = this.sizeFor(use);
    const option = this.sizeOfOwn(use) > 0 ? OPTION[use] : OPTION.outside;
    return new TandemError(
      'TANDEM_ACQUIRE_TIMEOUT',
      `No connection for ${NAMES[use]} within ${this.settings.acquireTimeoutMs} ms: ${size === 1 ? 'the only one of its pool is' : `all ${size || ''} of its pool are`} in use`,
      { data: { pool: use, size }, next: `Look for what holds connections for long, or for code that asks for a second one while it holds one; else raise ${option}.` },
    );
  }

  private sizeOfOwn(use: ConnectionUse): number {
    if (!this.twins) return 0;
    const { commandPoolSize = this.isMariaDb ? this.twins.size : 0, queryPoolSize, workerPoolSize } = this.settings;
    return { command: commandPoolSize, query: queryPoolSize, worker: workerPoolSize, outside: 0 }[use];
  }

  private get isMysql(): boolean {
    return this.dataSource.options.type !== 'postgres';
  }

  private driverFor(use: ConnectionUse): DataSource['driver'] {
    const { driver, isInitialized } = this.dataSource;
    const size = this.sizeOfOwn(use);
    if (size === 0 || !isInitialized) return driver;
    const known = this.own.get(use);
    if (known) return known.driver;
    const pool = this.twins!.open(size, this.placeFor(use).beginsByItself ? [NO_AUTOCOMMIT] : []);
    if (!pool) return driver;
    const mine = Object.create(driver, { [this.isMysql ? 'pool' : 'master']: { value: pool } }) as typeof driver;
    this.own.set(use, { driver: mine, pool });
    return mine;
  }
}

const closed = (): TandemError => new TandemError('TANDEM_STORAGE_UNAVAILABLE', 'The data source is closed, or being closed');
