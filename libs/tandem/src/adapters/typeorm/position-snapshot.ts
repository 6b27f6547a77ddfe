import type { DataSource } from 'typeorm';
import { type AtOnePosition, type BothSides, type DrainTo, PositionSnapshot } from '../../consistency/position-snapshot.js';
import type { Consumer } from '../../events/consumer.js';
import type { ConsumerStore } from '../../events/consumer-store.js';
import { TandemError } from '../../kernel/errors.js';
import type { Unit, UnitOfWork } from '../../kernel/unit-of-work.js';
import { acquire, poolsOf } from './acquire.js';
import { isOneSession } from './server-limit.js';
import { managerOf, type Sql, sqlOf, sqlOutside } from './sql.js';
import type { TableNames } from './table-names.js';
import { Turns } from './turns.js';
import { TypeOrmUnit } from './typeorm-unit.js';

type Heads = ReadonlyMap<number, number>;

/** The consumer's transaction, the one that holds the shards for a moment, and the write side's snapshot; all of the workers' pool. */
export const CONNECTIONS_OF_COMPARISON = 3;

/**
 * Both sides at one position H. On servers: (1) a consumer unit locks the checkpoints, so that the read side stands still; (2) all
 * shards are locked for a moment, which lets running commands finish and no other one append; H is noted; (3) meanwhile the write
 * side's snapshot is opened; the shards are let go and commands go on; the consumer is run exactly to H, and read in (1).
 * A consumer that commands run themselves is locked only under (2), in the order in which commands take these locks.
 */
export class TypeOrmPositionSnapshot extends PositionSnapshot {
  private serial: boolean | undefined;
  private readonly turns = new Turns();

  constructor(
    private readonly dataSource: DataSource,
    private readonly tables: TableNames,
    private readonly units: UnitOfWork,
    private readonly store: ConsumerStore,
  ) {
    super();
  }

  /** One at a time in a process: several that each hold one connection and wait for a second would wait for each other. */
  read<W, R>(consumers: readonly Consumer[], drainTo: DrainTo, sides: BothSides<W, R>): Promise<AtOnePosition<W, R>> {
    return this.turns.take(() => this.readNow(consumers, drainTo, sides));
  }

  private async readNow<W, R>(consumers: readonly Consumer[], drainTo: DrainTo, sides: BothSides<W, R>): Promise<AtOnePosition<W, R>> {
    // By name, so that two comparisons take their locks in the same order.
    const sorted = consumers.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    return (await this.mustShareOne()) ? this.inOneTransaction(sorted, drainTo, sides) : this.inThree(sorted, drainTo, sides);
  }

  private async inThree<W, R>(consumers: readonly Consumer[], drainTo: DrainTo, sides: BothSides<W, R>): Promise<AtOnePosition<W, R>> {
    let snapshot: TypeOrmUnit | undefined;
    let writing: Promise<W> | undefined;
    try {
      const drained = await this.units.run(
        async (unit) => {
          await this.endSnapshot(snapshot, writing); // of a try that the database made us repeat
          const { heads, caughtUp } = await this.openSnapshot(unit, consumers, (snapshot = this.newSnapshot()));
          writing = this.within(snapshot, sides.write);
          writing.catch(() => undefined); // thrown where it is awaited
          if (caughtUp) return { heads };
          await this.drain(unit, consumers, heads, drainTo);
          return { heads, read: await sides.read(managerOf(unit)) };
        },
        { kind: 'consumer' },
      );
      const write = await writing!;
      const read = 'read' in drained ? (drained.read as R) : await this.within(snapshot!, sides.read);
      return { write, read, heads: drained.heads };
    } finally {
      await this.endSnapshot(snapshot, writing);
    }
  }

  /** Leaves the snapshot open. `caughtUp`: it shows the read side at the same position, so that nothing has to be drained. */
  private async openSnapshot(unit: Unit, consumers: readonly Consumer[], snapshot: TypeOrmUnit): Promise<{ heads: Heads; caughtUp: boolean }> {
    const holding = await acquire(this.dataSource, 'worker');
    try {
      // All connections before any lock: commands that wait for a shard hold the rest of the pool.
      await snapshot.connect();
      await this.lock(unit, runBy('worker', consumers));
      await holding.begin('write');
      const heads = await this.lockShards(holding);
      // Its first statement: PostgreSQL takes the snapshot then, not at BEGIN.
      const caughtUp = (await this.behind(snapshot, consumers, heads)).length === 0;
      if (!caughtUp) await this.lock(unit, runBy('command', consumers));
      await holding.commit();
      return { heads, caughtUp };
    } catch (error) {
      await holding.rollback();
      throw error;
    } finally {
      await holding.release();
    }
  }

  /**
   * Where an open transaction blocks every other connection (PGlite), or the pool has fewer than three: both sides in one, READ
   * COMMITTED, with the shards locked until the end. Commands wait for it, and nothing that they have not committed is seen.
   */
  private inOneTransaction<W, R>(consumers: readonly Consumer[], drainTo: DrainTo, sides: BothSides<W, R>): Promise<AtOnePosition<W, R>> {
    return this.units.run(
      async (unit) => {
        const heads = await this.lockShards(sqlOf(unit));
        await this.drain(unit, consumers, heads, drainTo);
        return { write: await sides.write(managerOf(unit)), read: await sides.read(managerOf(unit)), heads };
      },
      { kind: 'consumer' },
    );
  }

  private async lock(unit: Unit, consumers: readonly Consumer[]): Promise<void> {
    for (const { name } of consumers) await this.store.claim(unit, { consumer: name, exclusive: true, wait: true });
  }

  private async lockShards(sql: Sql): Promise<Heads> {
    const rows = await sql.query<{ shard: number; head: number | string }[]>(`SELECT shard, head FROM ${this.tables.shard} ORDER BY shard FOR UPDATE`);
    return new Map(rows.map(({ shard, head }) => [shard, Number(head)]));
  }

  private async drain(unit: Unit, consumers: readonly Consumer[], heads: Heads, drainTo: DrainTo): Promise<void> {
    for (const consumer of consumers) await drainTo(unit, consumer, heads);
    const behind = await this.behind(unit, consumers, heads);
    if (behind.length > 0) throw new TandemError('TANDEM_CONSUMER_HALTED', `${behind.join(', ')} could not be brought to the position to compare at`);
  }

  private async behind(unit: Unit, consumers: readonly Consumer[], heads: Heads): Promise<string[]> {
    const names = consumers.map(({ name }) => name);
    const positions = await this.store.positions(names, [...heads.keys()], unit);
    return names.filter((name) => [...heads].some(([shard, head]) => (positions.get(name)?.get(shard) ?? 0) < head));
  }

  private newSnapshot(): TypeOrmUnit {
    return new TypeOrmUnit(this.dataSource, { kind: 'snapshot', attempt: 1, use: 'worker' });
  }

  private within<T>(snapshot: TypeOrmUnit, work: (manager: ReturnType<typeof managerOf>) => Promise<T>): Promise<T> {
    return snapshot.perform(() => work(managerOf(snapshot)));
  }

  private async endSnapshot(snapshot: TypeOrmUnit | undefined, writing: Promise<unknown> | undefined): Promise<void> {
    if (!snapshot?.isOpen) return;
    await writing?.catch(() => undefined); // its error is thrown by who reads; here it only has to be over
    snapshot.close();
    await snapshot.connection.rollback();
    await snapshot.connection.release();
  }

  private async mustShareOne(): Promise<boolean> {
    if (poolsOf(this.dataSource).sizeFor('worker') < CONNECTIONS_OF_COMPARISON) return true;
    this.serial ??= await sqlOutside(this.dataSource, async (sql) => {
      const [row] = await sql.query<{ version: string }[]>('SELECT version() AS version');
      return isOneSession(row!.version);
    });
    return this.serial;
  }
}

const runBy = (who: Consumer['runBy'], consumers: readonly Consumer[]): Consumer[] => consumers.filter((consumer) => consumer.runBy === who);
