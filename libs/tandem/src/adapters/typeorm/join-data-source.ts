import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import { scopes } from '../../kernel/unit-of-work.js';
import { poolsOf } from './acquire.js';
import { dialectOf } from './driver-link.js';
import { outsideRunner, secondConnection } from './outside-runner.js';
import { isAway, isServerFull, serverFull } from './sql-errors.js';
import { unitOn } from './typeorm-unit.js';

const joined = new WeakSet<DataSource>();
const guarded = new WeakSet<DataSource>();

/** Whether what hangs on this data source runs in the unit of work that is open. */
export const isJoined = (dataSource: DataSource): boolean => joined.has(dataSource);

/**
 * Makes everything that hangs on a data source run in the unit of work that is open: repositories, BaseEntity statics and injected
 * managers all share its own EntityManager, so accessors on that one instance reach them all. No prototype is touched.
 */
export function joinDataSource(dataSource: DataSource): DataSource {
  if (joined.has(dataSource)) return dataSource;
  joined.add(dataSource);
  const runner = (): QueryRunner | undefined => unitOn(dataSource)?.runner;
  joinManager(dataSource.manager, dataSource, runner);
  joinQueries(dataSource, runner, (mode) => outsideRunner(dataSource, mode));
  joinLife(dataSource);
  return dataSource;
}

/** What hangs on a data source that is not joined is refused inside units of work: it would commit by itself, and nobody would see it. */
export function guardDataSource(dataSource: DataSource): void {
  if (joined.has(dataSource) || guarded.has(dataSource)) return;
  guarded.add(dataSource);
  const runner = (): QueryRunner | undefined => unitOn(dataSource)?.runner;
  joinManager(dataSource.manager, dataSource, runner);
  joinQueries(dataSource, runner);
}

function joinManager(manager: EntityManager, dataSource: DataSource, runner: () => QueryRunner | undefined): void {
  const getRepository = manager.getRepository.bind(manager);
  const getTreeRepository = manager.getTreeRepository.bind(manager);
  const transaction = manager.transaction.bind(manager) as (...args: unknown[]) => Promise<unknown>;
  Object.defineProperty(manager, 'queryRunner', { configurable: true, get: runner });
  Object.assign(manager, {
    // Repositories are kept by the manager and remember the runner that they were made with: make them outside, with none.
    getRepository: (target: never) => scopes.run(undefined, () => getRepository(target)),
    getTreeRepository: (target: never) => scopes.run(undefined, () => getTreeRepository(target)),
    transaction: async (...args: unknown[]) => {
      const unit = unitOn(dataSource);
      return unit ? unit.inSavepoint(() => transaction(...args)) : transaction(...args);
    },
  });
}

function joinQueries(dataSource: DataSource, runner: () => QueryRunner | undefined, newRunner = dataSource.createQueryRunner.bind(dataSource)): void {
  const query = dataSource.query.bind(dataSource) as (text: string, params?: unknown, given?: QueryRunner) => Promise<unknown>;
  const createQueryBuilder = dataSource.createQueryBuilder.bind(dataSource) as (...args: unknown[]) => unknown;
  const createEntityManager = dataSource.createEntityManager.bind(dataSource);
  Object.assign(dataSource, {
    query: async (text: string, params?: unknown, given?: QueryRunner) => query(text, params, given ?? runner()),
    createQueryBuilder: (...args: [unknown?, unknown?, QueryRunner?]) =>
      args[1] ? createQueryBuilder(args[0], args[1], args[2] ?? runner()) : createQueryBuilder(args[0] ?? runner()),
    // What repositories that are classes of their own are given: `super(User, dataSource.createEntityManager())`.
    createEntityManager: (given?: QueryRunner) => {
      const manager = createEntityManager(given);
      if (!given) joinManager(manager, dataSource, runner);
      return manager;
    },
    createQueryRunner: (mode?: 'master' | 'slave') => {
      if (runner()) throw secondConnection();
      return newRunner(mode);
    },
  });
}

const START_IT = 'Start it, or check its address; how often TypeOrmModule tries is its option `retryAttempts`.';

function joinLife(dataSource: DataSource): void {
  const initialize = dataSource.initialize.bind(dataSource);
  const destroy = dataSource.destroy.bind(dataSource);
  Object.assign(dataSource, {
    initialize: async () => {
      try {
        await initialize();
        if (dialectOf(dataSource) === 'mysql') poolsOf(dataSource).noticeServer(await versionOf(dataSource));
        return dataSource;
      } catch (error) {
        if (isServerFull(error)) throw serverFull(error);
        throw isAway(error) ? new TandemError('TANDEM_STORAGE_UNAVAILABLE', `The database ${addressOf(dataSource)} does not answer`, { cause: error, next: START_IT }) : error;
      }
    },
    destroy: () => poolsOf(dataSource).close(destroy),
  });
}

async function versionOf(dataSource: DataSource): Promise<string> {
  const [row] = await dataSource.query<{ version: string }[]>('SELECT VERSION() AS version');
  return row!.version;
}

/** Without the user's name and password. */
function addressOf({ options }: DataSource): string {
  const { url, host, port } = options as { url?: string; host?: string; port?: number };
  if (url !== undefined && URL.canParse(url)) return `at ${new URL(url).host}`;
  return host === undefined ? '' : `at ${host}${port === undefined ? '' : `:${port}`}`;
}
