/** What a fleet that has nothing to do costs its database: statements a second, counted in the driver, and how long one look at all checkpoints takes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type INestApplicationContext, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Command, CommandHandler } from '@nestjs/cqrs';
import { TypeOrmModule } from '@nestjs/typeorm';
import mysql2 from 'mysql2';
import { ConsumerStore, On, Projection, QueuedCommand, TandemModule } from 'nest-tandem';
import { bullMqJobs } from 'nest-tandem/bullmq';
import { tandemDataSource, tandemMigrations, typeOrmStorage } from 'nest-tandem/typeorm';
import { type BenchPlace, Charged } from './ledger.js';
import { median, say, type Stage } from './stage.js';

/** Looks get rarer while there is nothing to do, up to five seconds apart. */
const UNTIL_SLOW_MS = 15_000;
const LOOKS = 21;
const FLEETS = [
  [1, 1],
  [1, 5],
  [200, 1],
  [200, 5],
] as const;

@QueuedCommand('bench.rest', { queue: 'rest', effect: 'sql' })
class Rest extends Command<void> {}

@CommandHandler(Rest)
class RestHandler {
  execute(): Promise<void> {
    return Promise.resolve();
  }
}

function projection(number: number): Type {
  @Projection(`bench.idle-${number}`, { version: 1 })
  class Idle {
    @On(Charged)
    charged(): void {}
  }
  return Idle;
}

function startWorker(place: BenchPlace, consumers: number): Promise<INestApplicationContext> {
  @Module({
    imports: [
      TypeOrmModule.forRootAsync({
        useFactory: () => ({ type: 'mysql', url: place.url, migrations: tandemMigrations(), migrationsRun: true }),
        dataSourceFactory: tandemDataSource,
      }),
      TandemModule.forRoot({
        storage: typeOrmStorage(),
        jobs: bullMqJobs({ connection: place.redisUrl, queuePrefix: place.queuePrefix }),
        role: 'worker',
        // Those of a larger fleet are left behind in the database.
        wiringErrors: 'warn',
      }),
    ],
    providers: [RestHandler, ...Array.from({ length: consumers }, (_, number) => projection(number))],
  })
  class IdleModule {}
  return NestFactory.createApplicationContext(IdleModule, { logger: ['error'] });
}

interface Commands {
  addCommand(command: unknown): unknown;
}

/** Every command that any connection of this process sends to MariaDB or MySQL. */
function countCommands(): { readonly sent: number; end(): void } {
  const connection = (mysql2 as unknown as { readonly Connection: { readonly prototype: Commands } }).Connection.prototype;
  const plain = Object.getPrototypeOf(connection) as Commands;
  const count = {
    sent: 0,
    end: () => void delete (connection as Partial<Commands>).addCommand,
  };
  connection.addCommand = function (this: Commands, command) {
    count.sent++;
    return plain.addCommand.call(this, command);
  };
  return count;
}

export async function idle({ place, rounds, seconds }: Stage): Promise<void> {
  say('\n| an idle fleet | statements a second | of each worker | ms a look |\n| --- | ---: | ---: | ---: |');
  for (const [consumers, workers] of FLEETS) {
    const apps: INestApplicationContext[] = [];
    for (let n = 0; n < workers; n++) apps.push(await startWorker(place, consumers));
    await sleep(UNTIL_SLOW_MS);
    const commands = countCommands();
    await sleep(rounds * seconds * 1_000);
    commands.end();
    const rate = commands.sent / (rounds * seconds);
    const took = await lookOf(apps[0]!);
    await Promise.all(apps.map((app) => app.close()));
    say(
      `| ${consumers} consumer${consumers > 1 ? 's' : ''}, ${workers} worker${workers > 1 ? 's' : ''} | ${rate.toFixed(2)} | ${(rate / workers).toFixed(2)} | ${took.toFixed(1)} |`,
    );
  }
}

async function lookOf(app: INestApplicationContext): Promise<number> {
  const store = app.get(ConsumerStore, { strict: false });
  const times: number[] = [];
  for (let n = 0; n < LOOKS; n++) {
    const start = performance.now();
    await store.status();
    times.push(performance.now() - start);
  }
  return median(times);
}
