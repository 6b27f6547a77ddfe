/** One UPDATE and two events: by hand, and through the command bus. */
import { randomUUID } from 'node:crypto';
import { bareCharge } from './bare.js';
import { Charge, ChargeByRepository, startLedger } from './ledger.js';
import { compare, type Stage, tableHead, writing } from './stage.js';

const ACCOUNTS = 1_000;
const anAccount = () => 1 + Math.floor(Math.random() * ACCOUNTS);

export async function commands(stage: Stage): Promise<void> {
  const { place, pool, seconds } = stage;
  const woken = await startLedger(place, { role: 'api' });
  const alone = await startLedger({ ...place, queuePrefix: `${place.queuePrefix}x` }, { role: 'api', projection: false });
  tableHead();
  for (const writers of [1, 8, 32]) {
    const run = (work: () => Promise<unknown>) => () => writing(work, { writers, seconds });
    await compare(`commands, ${writers} ${writers === 1 ? 'writer' : 'writers'}`, stage, {
      'mysql2 by hand': run(() => bareCharge(pool, randomUUID(), anAccount())),
      'UPDATE by em.query, no consumer': run(() => alone.commands.execute(new Charge(randomUUID(), anAccount()))),
      'UPDATE by em.query, wake-ups': run(() => woken.commands.execute(new Charge(randomUUID(), anAccount()))),
      'UPDATE by repository.update, wake-ups': run(() => woken.commands.execute(new ChargeByRepository(randomUUID(), anAccount()))),
    });
  }
  await woken.app.close();
  await alone.app.close();
}
