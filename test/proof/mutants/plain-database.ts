import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, type EntityManager } from 'typeorm';
import type { SqlBackend, TestDatabase } from '../../support/backends.js';
import { PLANNED_ROLLBACK, type Transaction } from '../ledger.js';

/** A database without the library: where simpler designs are tried. */
export class PlainDatabase {
  private constructor(
    readonly source: DataSource,
    readonly dialect: SqlBackend['dialect'],
    private readonly database: TestDatabase,
  ) {}

  static async create(backend: SqlBackend, tables: readonly string[]): Promise<PlainDatabase> {
    const database = await backend.create();
    const source = await new DataSource({ ...database.dataSourceOptions, ...({ poolSize: 40 } as object) }).initialize();
    for (const table of tables) await source.query(table);
    return new PlainDatabase(source, backend.dialect, database);
  }

  query<T>(text: string): Promise<T[]> {
    return this.source.query<T[]>(text);
  }

  /** `append`, the pause, and COMMIT or ROLLBACK. */
  transaction({ pauseMs, rollback }: Transaction, append: (manager: EntityManager) => Promise<unknown>): Promise<void> {
    return this.source.transaction('READ COMMITTED', async (manager) => {
      await append(manager);
      if (pauseMs > 0) await sleep(pauseMs);
      if (rollback) throw new Error(PLANNED_ROLLBACK);
    });
  }

  /** The same in one round trip, on MariaDB. */
  async block({ pauseMs, rollback }: Transaction, statements: readonly string[]): Promise<void> {
    const end = rollback ? `ROLLBACK; SIGNAL SQLSTATE '45001' SET MESSAGE_TEXT = '${PLANNED_ROLLBACK}'` : 'COMMIT';
    await this.query(`BEGIN NOT ATOMIC START TRANSACTION; ${statements.join('; ')}; DO SLEEP(${pauseMs / 1_000}); ${end}; END`);
  }

  async drop(): Promise<void> {
    await this.source.destroy();
    await this.database.drop();
  }
}

/** Looks again and again until it is stopped; `settled` waits until one look that began later found nothing. */
export class Poller {
  private readonly running: Promise<void>;
  private stopping = false;
  private looks = 0;
  private idleLooks: number[] = [];

  constructor(private readonly look: () => Promise<number>) {
    this.running = this.run();
  }

  async settled(): Promise<void> {
    const from = this.looks + 1;
    // The look that runs now may have begun before the last COMMIT.
    while (!this.idleLooks.some((look) => look > from)) await Promise.race([this.running, sleep(5)]);
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      const look = ++this.looks;
      const found = await this.look();
      if (found > 0) continue;
      this.idleLooks = [look];
      await sleep(1);
    }
  }
}
