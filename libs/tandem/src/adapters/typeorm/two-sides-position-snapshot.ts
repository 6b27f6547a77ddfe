import type { DataSource } from 'typeorm';
import { type AtOnePosition, type BothSides, type DrainTo, PositionSnapshot } from '../../consistency/position-snapshot.js';
import type { Consumer } from '../../events/consumer.js';
import type { ConsumerStore } from '../../events/consumer-store.js';
import { TandemError } from '../../kernel/errors.js';
import type { Unit, UnitOfWork } from '../../kernel/unit-of-work.js';
import { acquire, poolsOf } from './acquire.js';
import { isOneSession } from './server-limit.js';
import { managerOf, sqlOutside } from './sql.js';
import type { TableNames } from './table-names.js';
import { Turns } from './turns.js';
import { TypeOrmUnit } from './typeorm-unit.js';

type Heads = ReadonlyMap<number, number>;

interface Place {
  readonly dataSource: DataSource;
  readonly tables: TableNames;
}

/** In the log's data source: the transaction that holds the shards for a moment, and the write side's snapshot. */
const CONNECTIONS = 2;

/**
 * Both sides at one position H, each in its own data source: (1) a consumer unit on the read side locks the projections' checkpoints,
 * so that they stand still; (2) on the log's side all shards are locked for a moment, H is noted and the write side's snapshot
 * opened; (3) in (1) the projections are run exactly to H, and read.
 */
export class TwoSidesPositionSnapshot extends PositionSnapshot {
  private readonly turns = new Turns();

  constructor(
    private readonly log: Place,
    private readonly readSide: { readonly name: string; readonly dataSource: DataSource },
    private readonly ports: { readonly units: UnitOfWork; readonly store: ConsumerStore },
  ) {
    super();
  }

  /** One at a time in a process: several that each hold one connection and wait for a second would wait for each other. */
  read<W, R>(consumers: readonly Consumer[], drainTo: DrainTo, sides: BothSides<W, R>): Promise<AtOnePosition<W, R>> {
    return this.turns.take(() => this.readNow(consumers, drainTo, sides));
  }

  private async readNow<W, R>(consumers: readonly Consumer[], drainTo: DrainTo, sides: BothSides<W, R>): Promise<AtOnePosition<W, R>> {
    await this.refuseTooFew(consumers);
    // By name, so that two comparisons take their locks in the same order.
    const sorted = consumers.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    let snapshot: TypeOrmUnit | undefined;
    let writing: Promise<W> | undefined;
    try {
      const { heads, read } = await this.ports.units.run(
        async (unit) => {
          await this.endSnapshot(snapshot, writing); // of a try that the database made us repeat
          for (const { name } of sorted) await this.ports.store.claim(unit, { consumer: name, exclusive: true, wait: true });
          const opened = await this.openSnapshot((snapshot = new TypeOrmUnit(this.log.dataSource, { kind: 'snapshot', attempt: 1, use: 'worker' })));
          writing = snapshot.perform(() => sides.write(managerOf(snapshot!)));
          writing.catch(() => undefined); // thrown where it is awaited
          await this.drain(unit, sorted, opened, drainTo);
          return { heads: opened, read: await sides.read(managerOf(unit)) };
        },
        { kind: 'consumer', side: 'read' },
      );
      return { write: await writing!, read, heads };
    } finally {
      await this.endSnapshot(snapshot, writing);
    }
  }

  /** Leaves the snapshot open, at the heads that it returns. */
  private async openSnapshot(snapshot: TypeOrmUnit): Promise<Heads> {
    const { shard } = this.log.tables;
    const holding = await acquire(this.log.dataSource, 'worker');
    try {
      // Before any lock: commands that wait for a shard hold the rest of the pool.
      await snapshot.connect();
      await holding.begin('write');
      const rows = await holding.query<{ shard: number; head: number | string }[]>(`SELECT shard, head FROM ${shard} ORDER BY shard FOR UPDATE`);
      // Its first statement: PostgreSQL takes the snapshot then, not at BEGIN.
      await snapshot.perform(() => snapshot.sql.query(`SELECT MAX(head) AS head FROM ${shard}`));
      await holding.commit();
      return new Map(rows.map((row) => [row.shard, Number(row.head)]));
    } catch (error) {
      await holding.rollback();
      throw error;
    } finally {
      await holding.release();
    }
  }

  private async drain(unit: Unit, consumers: readonly Consumer[], heads: Heads, drainTo: DrainTo): Promise<void> {
    for (const consumer of consumers) await drainTo(unit, consumer, heads);
    const names = consumers.map(({ name }) => name);
    const positions = await this.ports.store.positions(names, [...heads.keys()], unit);
    const behind = names.filter((name) => [...heads].some(([shard, head]) => (positions.get(name)?.get(shard) ?? 0) < head));
    if (behind.length > 0) throw new TandemError('TANDEM_CONSUMER_HALTED', `${behind.join(', ')} could not be brought to the position to compare at`);
  }

  private async endSnapshot(snapshot: TypeOrmUnit | undefined, writing: Promise<unknown> | undefined): Promise<void> {
    if (!snapshot?.isOpen) return;
    await writing?.catch(() => undefined); // its error is thrown by who reads; here it only has to be over
    snapshot.close();
    await snapshot.connection.rollback();
    await snapshot.connection.release();
  }

  private async refuseTooFew(consumers: readonly Consumer[]): Promise<void> {
    const saga = consumers.find(({ kind }) => kind !== 'projection');
    if (saga)
      throw new TandemError('TANDEM_WIRING', `"${saga.name}" is a ${saga.kind}: it is not kept in the data source "${this.readSide.name}", where the read side is compared`);
    const size = poolsOf(this.log.dataSource).sizeFor('worker');
    if (size < CONNECTIONS)
      throw new TandemError(
        'TANDEM_WIRING',
        `A comparison with the data source "${this.readSide.name}" takes ${CONNECTIONS} connections of the log's pool for workers, which has ${size}`,
        {
          next: `Raise \`workerPoolSize\` of typeOrmStorage to ${CONNECTIONS}.`,
        },
      );
    const [row] = await sqlOutside(this.log.dataSource, (sql) => sql.query<{ version: string }[]>('SELECT version() AS version'));
    if (isOneSession(row!.version))
      throw new TandemError('TANDEM_WIRING', 'PGlite has one session, so the write side cannot be looked at while its shards are locked', { next: 'Compare on a server.' });
  }
}
