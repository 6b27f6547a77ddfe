// A command that kills its process, and the process that it kills: node test/support/run-typescript.mjs test/support/dying-command.ts BACKEND URL KEY WHEN
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandBus, CommandHandler, EventBus } from '@nestjs/cqrs';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { Column, type DataSourceOptions, Entity, PrimaryColumn, type Repository } from 'typeorm';
import { afterCommit, DomainEvent, Idempotency, TandemModule } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { tandemDataSource, tandemMigrations, typeOrmStorage } from 'nest-tandem/typeorm';

@Entity('dying_note')
export class Note {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('int') count!: number;
}

@DomainEvent('dying.noted', { version: 1, stream: (e) => ['note', e.id] })
export class Noted {
  constructor(readonly id: string) {}
}

export class TakeNote extends Command<{ readonly id: string }> {
  constructor(readonly id: string) {
    super();
  }
}

/** When its process ends, if ever. */
export const death: { when: 'never' | 'written' | 'committed' } = { when: 'never' };
const die = () => process.kill(process.pid, 'SIGKILL');

@CommandHandler(TakeNote)
export class TakeNoteHandler {
  constructor(
    @InjectRepository(Note) private readonly notes: Repository<Note>,
    private readonly events: EventBus,
  ) {}
  async execute({ id }: TakeNote) {
    const note = await this.notes.findOneBy({ id });
    await this.notes.save({ id, count: (note?.count ?? 0) + 1 });
    this.events.publish(new Noted(id));
    if (death.when === 'written') die();
    if (death.when === 'committed') afterCommit(die);
    return { id };
  }
}

/** An application that only takes commands. */
export async function startNotes(url: string, jobs: Parameters<typeof bullMqJobs>[0]) {
  const type = url.startsWith('mysql') ? 'mysql' : 'postgres';
  const options = { type, url, entities: [Note], synchronize: true, migrations: tandemMigrations(), migrationsRun: true, poolSize: 3 } as DataSourceOptions;
  @Module({
    imports: [
      TypeOrmModule.forRootAsync({ useFactory: () => options, dataSourceFactory: tandemDataSource }),
      TypeOrmModule.forFeature([Note]),
      TandemModule.forRoot({ storage: typeOrmStorage(), jobs: bullMqJobs(jobs), role: 'api', interceptors: [] }),
    ],
    providers: [TakeNoteHandler],
  })
  class Notes {}
  return NestFactory.createApplicationContext(Notes, { logger: ['error', 'warn'] });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , url, jobs, key, when] = process.argv;
  process.once('disconnect', () => process.exit());
  const app = await startNotes(url!, JSON.parse(jobs!) as Parameters<typeof bullMqJobs>[0]);
  death.when = when as typeof death.when;
  await app.get(CommandBus).execute(new TakeNote(key!), Idempotency.key(key!));
}
