/** Mutant: one table with an auto-increment id, and a reader that remembers the last id. Ids are given at INSERT, and commits come in another order. */
import type { SqlBackend } from '../../support/backends.js';
import type { Transaction } from '../ledger.js';
import type { Seen, Subject } from '../subject.js';
import { PlainDatabase, Poller } from './plain-database.js';

export class TailedId implements Subject {
  private readonly ids: string[] = [];
  private readonly poller: Poller;
  private last = 0;

  private constructor(private readonly database: PlainDatabase) {
    this.poller = new Poller(() => this.look());
  }

  static async start(backend: SqlBackend): Promise<TailedId> {
    const id = backend.dialect === 'mysql' ? 'BIGINT AUTO_INCREMENT PRIMARY KEY' : 'BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY';
    return new TailedId(await PlainDatabase.create(backend, [`CREATE TABLE event (id ${id}, fact VARCHAR(20) NOT NULL)`]));
  }

  write(transaction: Transaction): Promise<void> {
    const rows = transaction.facts.map(({ id }) => `('${id}')`).join(', ');
    return this.database.transaction(transaction, (manager) => manager.query(`INSERT INTO event (fact) VALUES ${rows}`));
  }

  settled(): Promise<void> {
    return this.poller.settled();
  }

  async seen(): Promise<readonly Seen[]> {
    return [{ keeps: 'causes', ids: this.ids }];
  }

  async end(): Promise<void> {
    await this.poller.stop();
    await this.database.drop();
  }

  private async look(): Promise<number> {
    const rows = await this.database.query<{ id: number | string; fact: string }>(`SELECT id, fact FROM event WHERE id > ${this.last} ORDER BY id LIMIT 1000`);
    this.ids.push(...rows.map(({ fact }) => fact));
    this.last = Number(rows.at(-1)?.id ?? this.last);
    return rows.length;
  }
}
