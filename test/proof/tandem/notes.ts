/** The application that is proved: one command, two events, and a consumer of every kind that follows them. */
import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Command, CommandHandler, EventBus, type ICommandHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { type Delta, DomainEvent, DurableSaga, type EventMetadata, On, OnDelta, Projection, QueuedCommand, SyncStrategy, type Unit, UnitOfWorkRunner } from 'nest-tandem';
import { Column, Entity, PrimaryColumn, type Repository } from 'typeorm';
import { type Fact, PLANNED_ROLLBACK, type Transaction } from '../ledger.js';

@Entity('proof_thing')
export class Thing {
  @PrimaryColumn('varchar', { length: 20 }) id!: string;
  @Column('int') notes!: number;
}

@Entity('proof_sight')
export class Sight {
  @PrimaryColumn('varchar', { length: 20 }) fact!: string;
  /** Rises in the order in which they were seen. */
  @Column('int', { default: 0 }) n!: number;
  @Column('int', { default: 0 }) times!: number;
}

/**
 * What the workers of one proof count and remember together; they run in one process. The order is that of the numbers, which handlers
 * take while their batch holds its claim: of two workers, the one whose COMMIT is answered late hears of it after the next batch.
 */
@Injectable()
export class Witness {
  n = 0;
  /** Number → fact of a batch that has committed. */
  private readonly committed = new Map<number, string>();

  get facts(): readonly string[] {
    return [...this.committed].toSorted(([a], [b]) => a - b).map(([, fact]) => fact);
  }

  note(fact: string, unit: Unit): void {
    const number = ++this.n;
    unit.afterCommit(() => this.committed.set(number, fact));
  }
}

@Entity('proof_trail')
export class Trail {
  @PrimaryColumn('varchar', { length: 20 }) id!: string;
  @Column('int', { default: 0 }) notes!: number;
  @Column('int', { default: 0 }) version!: number;
  /** Over the ids in the order in which they came. */
  @Column('varchar', { length: 40, default: '' }) digest!: string;
}

@Entity('proof_total')
export class Total {
  @PrimaryColumn('varchar', { length: 20 }) id!: string;
  @Column('int', { default: 0 }) notes!: number;
  @Column('decimal', { precision: 19, scale: 4, default: 0 }) amount!: string;
}

@Entity('proof_mark')
export class Mark {
  @PrimaryColumn('varchar', { length: 20 }) id!: string;
  @Column('int', { default: 0 }) marks!: number;
}

@Entity('proof_effect')
export class Effect {
  @PrimaryColumn('varchar', { length: 20 }) fact!: string;
  @Column('int') count!: number;
}

/** The next digest of a trail. */
export const digestOf = (before: string, id: string): string => createHash('sha1').update(`${before} ${id}`).digest('hex');

/** Totals are rows that many streams feed. */
export const TOTALS = 8;
export const totalOf = (thing: string): string => `total${Number(thing.slice(1)) % TOTALS}`;

class Note {
  constructor(
    readonly id: string,
    readonly thing: string,
    readonly cause: string | null,
    readonly amount: string,
  ) {}
}

@DomainEvent('proof.noted', { version: 1, stream: (e) => ['thing', e.thing] })
export class Noted extends Note {}

@DomainEvent('proof.marked', { version: 1, stream: (e) => ['thing', e.thing] })
export class Marked extends Note {}

export class Write extends Command<void> {
  constructor(readonly transaction: Transaction) {
    super();
  }
}

@QueuedCommand('proof.effect', { queue: 'effects', effect: 'sql', attempts: 5, backoffMs: 10 })
export class TakeEffect extends Command<void> {
  constructor(readonly fact: string) {
    super();
  }
}

const eventOf = ({ id, thing, cause, amount, marked }: Fact): object => new (marked ? Marked : Noted)(id, thing, cause, `${amount}.2500`);

@CommandHandler(Write)
export class WriteHandler implements ICommandHandler<Write> {
  constructor(
    @InjectRepository(Thing) private readonly things: Repository<Thing>,
    private readonly events: EventBus,
  ) {}

  async execute({ transaction: { facts, rollback } }: Write): Promise<void> {
    const counts = new Map<string, number>();
    for (const { thing } of facts) counts.set(thing, (counts.get(thing) ?? 0) + 1);
    for (const [id, count] of [...counts].toSorted()) await this.things.increment({ id }, 'notes', count);
    this.events.publishAll(facts.map(eventOf));
    if (rollback === 'before append') throw new Error(PLANNED_ROLLBACK);
  }
}

@CommandHandler(TakeEffect)
export class TakeEffectHandler implements ICommandHandler<TakeEffect> {
  constructor(@InjectRepository(Effect) private readonly effects: Repository<Effect>) {}
  async execute({ fact }: TakeEffect): Promise<void> {
    const before = await this.effects.findOneBy({ fact });
    await this.effects.save({ fact, count: (before?.count ?? 0) + 1 });
  }
}

/** Free, and told of what has committed only. */
@Projection('proof.whole', { version: 1 })
export class WholeProjection {
  constructor(
    private readonly units: UnitOfWorkRunner,
    private readonly witness: Witness,
  ) {}
  @On(Noted)
  @On(Marked)
  note({ id }: Note): void {
    this.witness.note(id, this.units.current!);
  }
}

/** The same order, kept in rows. */
@Projection('proof.sights', { entity: Sight, version: 1 })
export class SightProjection {
  constructor(private readonly witness: Witness) {}
  @On(Noted, { key: ({ id }) => ({ fact: id }) })
  @On(Marked, { key: ({ id }) => ({ fact: id }) })
  note(sight: Sight, _event: Note) {
    sight.n = ++this.witness.n;
    sight.times += 1;
  }
}

@Projection('proof.trails', { entity: Trail, version: 1, parallelism: 8 })
export class TrailProjection {
  @On(Noted)
  @On(Marked)
  note(trail: Trail, { id }: Note, { version }: EventMetadata) {
    trail.notes += 1;
    trail.version = version;
    trail.digest = digestOf(trail.digest, id);
  }
}

@Projection('proof.totals', { entity: Total, version: 1, parallelism: 2 })
export class TotalProjection {
  @OnDelta(Noted, { key: ({ thing }) => ({ id: totalOf(thing) }) })
  @OnDelta(Marked, { key: ({ thing }) => ({ id: totalOf(thing) }) })
  note(total: Delta<Total>, { amount }: Note) {
    total.add('notes', 1).add('amount', amount);
  }
}

@Projection('proof.marks', { entity: Mark, version: 1, sync: SyncStrategy.immediate() })
export class MarkProjection {
  @On(Marked)
  marked(mark: Mark, _event: Marked) {
    mark.marks += 1;
  }
}

@DurableSaga('proof.effects')
export class EffectSaga {
  @On(Marked)
  marked({ id }: Marked) {
    return new TakeEffect(id);
  }
}

export const proofEntities = [Thing, Sight, Trail, Total, Mark, Effect];
export const proofProviders = [WriteHandler, TakeEffectHandler, WholeProjection, SightProjection, TrailProjection, TotalProjection, MarkProjection, EffectSaga];
