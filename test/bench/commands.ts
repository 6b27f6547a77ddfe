/** One UPDATE and two events: by hand, and through the command bus, while a worker in another process projects them. */
import { randomUUID } from 'node:crypto';
import type { Command } from '@nestjs/cqrs';
import { LoggingInterceptor } from 'nest-tandem';
import { bareCharge } from './bare.js';
import { Charge, ChargeByRepository, startLedger } from './ledger.js';
import { atHead, pause, placeBehind, resume } from './position.js';
import { compare, type Figure, type Stage, tableHead, writing } from './stage.js';
import { startWorkerProcess } from './worker-process.js';

const ACCOUNTS = 1_000;
export const anAccount = (): number => 1 + Math.floor(Math.random() * ACCOUNTS);

export async function commands(stage: Stage): Promise<void> {
  const { place, pool, seconds } = stage;
  const alone = await startLedger({ ...place, queuePrefix: `${place.queuePrefix}x` }, { role: 'api', projection: false });
  const woken = await startLedger(place, { role: 'api' });
  const logged = await startLedger(place, { role: 'api', interceptors: [LoggingInterceptor], log: true });
  const worker = await startWorkerProcess(place);
  await pause(pool);
  /** While the worker follows; what it has not read when the time is up is read before the next variant, which is not measured. */
  const followed = async (work: () => Promise<Figure>): Promise<Figure> => {
    await placeBehind(pool);
    await resume(pool);
    const figure = await work();
    await atHead(pool);
    await pause(pool);
    return figure;
  };
  tableHead();
  for (const writers of [1, 8, 32]) {
    const run = (work: () => Promise<unknown>) => writing(work, { writers, seconds });
    const through = ({ commands }: typeof woken, Message: new (id: string, account: number) => Command<void>) =>
      run(() => commands.execute(new Message(randomUUID(), anAccount())));
    await compare(`commands, ${writers} ${writers === 1 ? 'writer' : 'writers'}`, stage, {
      'mysql2 by hand': () => run(() => bareCharge(pool, randomUUID(), anAccount())),
      'UPDATE by em.query, no consumer': () => through(alone, Charge),
      'UPDATE by em.query, a worker follows': () => followed(() => through(woken, Charge)),
      'UPDATE by em.query, a worker follows, each command logged': () => followed(() => through(logged, Charge)),
      'UPDATE by repository.update, no consumer': () => through(alone, ChargeByRepository),
      'UPDATE by repository.update, a worker follows': () => followed(() => through(woken, ChargeByRepository)),
    });
  }
  await worker.stop();
  for (const { app } of [alone, woken, logged]) await app.close();
}
