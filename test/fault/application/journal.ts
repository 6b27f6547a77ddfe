/** A free projection: one line for each event. A second effect would be a second line, an effect before its cause a line before another. */
import { On, Projection, type EventMetadata } from 'nest-tandem';
import { Column, Entity, type EntityManager, PrimaryGeneratedColumn } from 'typeorm';
import { Moved } from './accounts.js';
import { Changed, Confirmed, Placed, Stamped } from './order-events.js';
import { Tripwires } from './tripwires.js';

@Entity('fault_journal')
export class JournalLine {
  @PrimaryGeneratedColumn({ type: 'bigint' }) n!: string;
  @Column('int') shard!: number;
  @Column('bigint') seq!: string;
}

@Projection('fault.journal', { version: 1, tables: [JournalLine] })
export class JournalProjection {
  constructor(private readonly tripwires: Tripwires) {}

  @On(Moved)
  @On(Placed)
  @On(Changed)
  @On(Confirmed)
  @On(Stamped)
  async line(_event: Moved | Placed | Changed | Confirmed | Stamped, { position: { shard, seq } }: EventMetadata, manager: EntityManager) {
    this.tripwires.reach('batch.mid-handlers');
    await manager.query('INSERT INTO fault_journal (shard, seq) VALUES (?, ?)', [shard, seq]);
  }
}
