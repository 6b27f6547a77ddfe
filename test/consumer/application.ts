/** What the package test compiles and runs in a folder of its own: the same small application on the adapters that ADAPTERS names. */
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandBus, CommandHandler, EventBus, Query, QueryBus, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { Consistency, DomainEvent, On, Projection, Reads, TandemModule, type TandemAdapters } from 'nest-tandem';
import { tandem } from 'nest-tandem/testing';
import { tandemDataSource, tandemMigrations } from 'nest-tandem/typeorm';
import { Column, type DataSourceOptions, Entity, PrimaryColumn, Repository } from 'typeorm';

@Entity()
class NoteView {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('varchar', { length: 60 }) text!: string;
}

@DomainEvent('note.written', { version: 1, stream: (e) => ['note', e.id] })
class NoteWritten {
  constructor(
    readonly id: string,
    readonly text: string,
  ) {}
}
class WriteNote extends Command<void> {
  constructor(
    readonly id: string,
    readonly text: string,
  ) {
    super();
  }
}
class GetNote extends Query<NoteView | null> {
  constructor(readonly id: string) {
    super();
  }
}

@CommandHandler(WriteNote)
class WriteNoteHandler {
  constructor(readonly events: EventBus) {}
  async execute({ id, text }: WriteNote): Promise<void> {
    this.events.publish(new NoteWritten(id, text));
  }
}
@Projection('notes.view', { entity: NoteView, version: 1 })
class NoteViewProjection {
  @On(NoteWritten) written(view: NoteView, event: NoteWritten): void {
    view.text = event.text;
  }
}
@QueryHandler(GetNote)
@Reads(NoteView)
class GetNoteHandler {
  constructor(@InjectRepository(NoteView) readonly views: Repository<NoteView>) {}
  execute({ id }: GetNote): Promise<NoteView | null> {
    return this.views.findOneBy({ id });
  }
}

interface Place extends TandemAdapters {
  readonly typeOrmOptions: () => Promise<DataSourceOptions> | DataSourceOptions;
}

async function place(): Promise<Place> {
  const { ADAPTERS, DATABASE_URL: url, QUEUE_PREFIX: queuePrefix, REDIS_URL: connection } = process.env;
  if (ADAPTERS === 'embedded') return (await import('nest-tandem/embedded')).embedded({ dataDir: 'data' }) as Place;
  const { typeOrmStorage } = await import('nest-tandem/typeorm');
  const { bullMqJobs } = await import('nest-tandem/bullmq');
  const type = ADAPTERS === 'mysql' ? 'mysql' : 'postgres';
  const place = ADAPTERS === 'mysql' ? connection! : { postgres: url! };
  return { storage: typeOrmStorage(), jobs: bullMqJobs({ connection: place, queuePrefix }), typeOrmOptions: () => ({ type, url }) as DataSourceOptions };
}

const { storage, jobs, typeOrmOptions } = await place();
const useFactory = async () => ({ ...(await typeOrmOptions()), entities: [NoteView], migrations: tandemMigrations(), migrationsRun: true, synchronize: true });

@Module({
  imports: [TypeOrmModule.forRootAsync({ useFactory, dataSourceFactory: tandemDataSource }), TypeOrmModule.forFeature([NoteView]), TandemModule.forRoot({ storage, jobs })],
  providers: [WriteNoteHandler, NoteViewProjection, GetNoteHandler],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: ['warn', 'error'] });
const written = Consistency.strong();
await app.get(CommandBus).execute(new WriteNote('1', 'from the package'), written);
const note = await app.get(QueryBus).execute(new GetNote('1'), Consistency.readYourWrites(await written.token));
await tandem(app).idle();
process.stdout.write(`${JSON.stringify(note)}\n`);
await app.close();
