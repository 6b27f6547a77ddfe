/**
 * Mutant, on MariaDB: the log is appended as it should be, but a reader joins heads and events in one statement and takes what it
 * gets up to the head. MariaDB collects which transactions are open without stopping them, so one statement may see a commit and not
 * the one that it had waited for. PostgreSQL's snapshots are atomic: there it does no harm.
 */
import type { SqlBackend } from '../../support/backends.js';
import type { Transaction } from '../ledger.js';
import type { Seen, Subject } from '../subject.js';
import { PlainDatabase, Poller } from './plain-database.js';

/** Few, so that transactions wait for one another. */
const SHARDS = 2;
const READERS = 4;

const TABLES = [
  'CREATE TABLE shard (shard INT NOT NULL PRIMARY KEY, head BIGINT NOT NULL)',
  'CREATE TABLE event (shard INT NOT NULL, seq BIGINT NOT NULL, fact VARCHAR(20) NOT NULL, PRIMARY KEY (shard, seq))',
  `INSERT INTO shard VALUES ${Array.from({ length: SHARDS }, (_, shard) => `(${shard}, 0)`).join(', ')}`,
];

const shardOf = (thing: string): number => Number(thing.slice(1)) % SHARDS;

interface Row {
  readonly shard: number;
  readonly seq: number | string;
  readonly fact: string;
}

class Reader {
  readonly ids: string[] = [];
  readonly poller: Poller;
  private readonly read = Array.from({ length: SHARDS }, () => 0);

  constructor(private readonly database: PlainDatabase) {
    this.poller = new Poller(() => this.look());
  }

  private async look(): Promise<number> {
    const behind = this.read.map((seq, shard) => `(s.shard = ${shard} AND e.seq > ${seq})`).join(' OR ');
    const rows = await this.database.query<Row>(
      `SELECT e.shard, e.seq, e.fact FROM shard s JOIN event e ON e.shard = s.shard AND e.seq <= s.head WHERE ${behind} ORDER BY e.shard, e.seq`,
    );
    for (const { fact, seq, shard } of rows) {
      this.ids.push(fact);
      this.read[shard] = Number(seq);
    }
    return rows.length;
  }
}

export class JoinedHeads implements Subject {
  private readonly readers: readonly Reader[];

  private constructor(private readonly database: PlainDatabase) {
    this.readers = Array.from({ length: READERS }, () => new Reader(database));
  }

  static async start(backend: SqlBackend): Promise<JoinedHeads> {
    return new JoinedHeads(await PlainDatabase.create(backend, TABLES));
  }

  /** As the library does on MariaDB: append and COMMIT are one statement, under the shards' locks. */
  write(transaction: Transaction): Promise<void> {
    const shards = [...new Set(transaction.facts.map(({ thing }) => shardOf(thing)))].toSorted();
    const statements = shards.flatMap((shard) => {
      const facts = transaction.facts.filter(({ thing }) => shardOf(thing) === shard);
      const rows = facts.map(({ id }, index) => `(${shard}, LAST_INSERT_ID() - ${facts.length - 1 - index}, '${id}')`);
      return [`UPDATE shard SET head = LAST_INSERT_ID(head + ${facts.length}) WHERE shard = ${shard}`, `INSERT INTO event VALUES ${rows.join(', ')}`];
    });
    return this.database.block(transaction, statements);
  }

  async settled(): Promise<void> {
    await Promise.all(this.readers.map(({ poller }) => poller.settled()));
  }

  async seen(): Promise<readonly Seen[]> {
    return this.readers.map(({ ids }) => ({ keeps: 'streams', ids }));
  }

  async end(): Promise<void> {
    await Promise.all(this.readers.map(({ poller }) => poller.stop()));
    await this.database.drop();
  }
}
