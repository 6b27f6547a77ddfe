/**
 * One application in several releases, which run at once during a deploy: each has its own classes, and all share one database.
 * Its consumers count what they are given, and each row notes by itself whether an event of its stream was skipped, doubled or early.
 */
import { type INestApplicationContext, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandHandler, EventBus, Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { DomainEvent, DurableSaga, type EventMetadata, On, Projection, QueuedCommand, Reads, type Retired, SyncStrategy, TandemModule, type TandemRole } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { tandemDataSource, typeOrmStorage } from 'nest-tandem/typeorm';
import { Column, type DataSourceOptions, Entity, PrimaryColumn, type Repository } from 'typeorm';

/** What the code of a release has. Plain data: a process is told in its arguments which one it is. */
export interface Release {
  /** The schema version of `roll.noted` that it writes, and knows. Default 1. */
  readonly noted?: 1 | 2;
  /** It writes `roll.marked` too, and its `roll.trails` handles it. */
  readonly marks?: true;
  /** Its projection beside `roll.trails` and `roll.crowds`. Default `old`. */
  readonly view?: 'old' | 'new';
  /** Of `roll.trails` and `roll.crowds`. Default `eventual`. */
  readonly sync?: SyncStrategy['kind'];
  /** Of `roll.trails`. Default what the library chooses. */
  readonly parallelism?: number;
  /** Its saga sends cards, too: a job that the release before does not know. */
  readonly cards?: true;
  readonly retired?: Retired;
  /** Default what the library has. */
  readonly batchSize?: number;
  /** Its process stops itself, once, in the middle of a batch of this consumer that has an event of {@link FREEZING}. */
  readonly freezesIn?: 'roll.trails' | 'roll.crowds';
}

/** Where all releases run. Plain data too. */
export interface ReleasePlace {
  readonly database: DataSourceOptions;
  readonly queuePrefix: string;
  /** Without it, queues are in the database. */
  readonly redisUrl?: string;
}

/** A row for each stream. */
abstract class StreamRow {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  /** Of the last event. */
  @Column('int', { default: 0 }) version!: number;
  /** Events that did not come right behind the one before. */
  @Column('int', { default: 0 }) broken!: number;
}

@Entity('roll_trail')
export class Trail extends StreamRow {}
@Entity('roll_old_view')
export class OldView extends StreamRow {}
@Entity('roll_new_view')
export class NewView extends StreamRow {}

/** A row for many streams: a change that is lost or doubled makes a wrong sum. */
@Entity('roll_crowd')
export class Crowd {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('int', { default: 0 }) notes!: number;
  @Column('int', { default: 0 }) amount!: number;
}

@Entity('roll_letter')
export class Letter {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('int', { default: 0 }) times!: number;
}

export const releaseEntities = [Trail, OldView, NewView, Crowd, Letter];

/** Each thing a note with its amount, all in one transaction. */
export class Note extends Command<void> {
  constructor(readonly notes: readonly (readonly [thing: string, amount: number])[]) {
    super();
  }
}

export class GetTrail extends Query<Trail | null> {
  constructor(readonly thing: string) {
    super();
  }
}

/** Sent for every note of this amount. */
export const LETTER_AMOUNT = 7;
/** A card is sent for every note of this amount, by a release that has cards. */
export const CARD_AMOUNT = 9;
/** A thing at which a process may stop itself. */
export const FREEZING = 'freezing';
const CROWDS = 5;
export const crowdOf = (thing: string): string => `crowd${thing.length % CROWDS}`;

/** The last two run by themselves once in a test, or not at all. */
const STRATEGIES: Readonly<Record<SyncStrategy['kind'], SyncStrategy>> = {
  immediate: SyncStrategy.immediate(),
  eventual: SyncStrategy.eventual(),
  batched: SyncStrategy.batched(50, { maxWaitMs: 60_000 }),
  scheduled: SyncStrategy.scheduled({ everyMs: 60 * 60 * 1_000 }),
};

function providersOf(release: Release): Type[] {
  const { cards, marks, noted = 1, parallelism, sync: kind = 'eventual', view = 'old' } = release;
  const sync = STRATEGIES[kind];

  @DomainEvent('roll.noted', { version: noted, stream: (e) => ['thing', e.thing] })
  class Noted {
    constructor(
      readonly thing: string,
      readonly amount: number,
      readonly since2?: string,
    ) {}
  }
  @DomainEvent('roll.marked', { version: 1, stream: (e) => ['thing', e.thing] })
  class Marked {
    constructor(readonly thing: string) {}
  }

  @QueuedCommand('roll.send-letter', { queue: 'letters', effect: 'sql', attempts: 5, backoffMs: 10 })
  class SendLetter extends Command<void> {
    constructor(readonly id: string) {
      super();
    }
  }

  /** In the queue of the letters, so that workers without it meet it. */
  @QueuedCommand('roll.send-card', { queue: 'letters', effect: 'sql', attempts: 1 })
  class SendCard extends Command<void> {
    constructor(readonly id: string) {
      super();
    }
  }

  @CommandHandler(Note)
  class NoteHandler {
    constructor(readonly events: EventBus) {}
    execute({ notes }: Note): Promise<void> {
      for (const [thing, amount] of notes) {
        this.events.publish(noted === 2 ? new Noted(thing, amount, 'two') : new Noted(thing, amount));
        if (marks) this.events.publish(new Marked(thing));
      }
      return Promise.resolve();
    }
  }

  @CommandHandler(SendLetter)
  class SendLetterHandler {
    constructor(@InjectRepository(Letter) readonly letters: Repository<Letter>) {}
    async execute({ id }: SendLetter): Promise<void> {
      const before = await this.letters.findOneBy({ id });
      await this.letters.save({ id, times: (before?.times ?? 0) + 1 });
    }
  }

  @CommandHandler(SendCard)
  class SendCardHandler extends SendLetterHandler {}

  @DurableSaga('roll.letters')
  class Letters {
    @On(Noted)
    noted({ amount }: Noted, { stream, version }: EventMetadata) {
      if (cards && amount === CARD_AMOUNT) return new SendCard(`card.${stream}.${version}`);
      return amount === LETTER_AMOUNT ? new SendLetter(`${stream}.${version}`) : [];
    }
  }

  abstract class Trails {
    follow(row: StreamRow, thing: string, { version }: EventMetadata): void {
      if (version !== row.version + 1) row.broken += 1;
      row.version = version;
      freeze(release, 'roll.trails', thing);
    }
    @On(Noted)
    noted(row: StreamRow, { thing }: Noted, metadata: EventMetadata) {
      this.follow(row, thing, metadata);
    }
  }
  class MarkedTrails extends Trails {
    @On(Marked)
    marked(row: StreamRow, { thing }: Marked, metadata: EventMetadata) {
      this.follow(row, thing, metadata);
    }
  }
  @Projection('roll.trails', { entity: Trail, version: 1, sync, parallelism })
  class TrailProjection extends (marks ? MarkedTrails : (Trails as new () => Trails)) {}
  @Projection('roll.old-view', { entity: OldView, version: 1 })
  class OldViewProjection extends (Trails as new () => Trails) {}
  @Projection('roll.new-view', { entity: NewView, version: 1 })
  class NewViewProjection extends MarkedTrails {}

  @Projection('roll.crowds', { entity: Crowd, version: 1, sync })
  class CrowdProjection {
    @On(Noted, { key: ({ thing }) => crowdOf(thing) })
    noted(row: Crowd, { thing, amount, since2 }: Noted) {
      row.notes += 1;
      // Code that does not know the newer schema would misread it.
      row.amount += noted === 1 && since2 ? -amount - 1 : amount;
      freeze(release, 'roll.crowds', thing);
    }
  }

  @QueryHandler(GetTrail)
  @Reads(Trail)
  class GetTrailHandler {
    constructor(@InjectRepository(Trail) readonly rows: Repository<Trail>) {}
    execute({ thing }: GetTrail): Promise<Trail | null> {
      return this.rows.findOneBy({ id: thing });
    }
  }

  return [
    NoteHandler,
    SendLetterHandler,
    ...(cards ? [SendCardHandler] : []),
    Letters,
    TrailProjection,
    view === 'old' ? OldViewProjection : NewViewProjection,
    CrowdProjection,
    GetTrailHandler,
  ];
}

let isThawed = false;
function freeze({ freezesIn }: Release, consumer: Release['freezesIn'], thing: string): void {
  if (freezesIn !== consumer || thing !== FREEZING || isThawed) return;
  isThawed = true;
  process.kill(process.pid, 'SIGSTOP');
}

/** Tables are there: nobody makes any while others serve. */
export async function startRelease(place: ReleasePlace, release: Release, role: TandemRole = 'all'): Promise<INestApplicationContext> {
  const connection = place.redisUrl ?? { postgres: (place.database as { url: string }).url };
  const options = (): DataSourceOptions => ({ ...place.database, ...({ poolSize: 4 } as object), entities: releaseEntities });
  @Module({
    imports: [
      TypeOrmModule.forRootAsync({ useFactory: options, dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forFeature(releaseEntities),
      TandemModule.forRoot({
        storage: typeOrmStorage({ commandPoolSize: 0, queryPoolSize: 2, workerPoolSize: 4 }),
        jobs: bullMqJobs({ connection, queuePrefix: place.queuePrefix }),
        role,
        interceptors: [],
        reconcileEveryMs: 200,
        consumerBackoffMs: 10,
        retired: release.retired,
        batchSize: release.batchSize,
      }),
    ],
    providers: providersOf(release),
  })
  class ReleaseModule {}
  return NestFactory.createApplicationContext(ReleaseModule, { logger: ['error', 'warn'], abortOnError: false });
}
