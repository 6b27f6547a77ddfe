/** A log that is there, made anew into shadow tables beside the live ones and swapped: by this process alone, and with a worker in a process of its own beside it. */
import { Projections } from 'nest-tandem';
import { fillLog } from './fill-log.js';
import { startLedger } from './ledger.js';
import { atHead } from './position.js';
import { compare, perSecond, type Stage, tableHead } from './stage.js';
import { startWorkerProcess } from './worker-process.js';

export async function rebuild(stage: Stage): Promise<void> {
  const { place, pool } = stage;
  const events = await fillLog(pool, stage.events);
  const { app } = await startLedger(place);
  await atHead(pool);
  const projections = app.get(Projections);
  const rebuilt = () =>
    perSecond(async () => {
      await projections.rebuild('bench.view');
      return events;
    });
  tableHead('events per second');
  await compare(`rebuild, ${events.toLocaleString('en')} events`, stage, {
    '1 worker': rebuilt,
    '2 workers': async () => {
      const other = await startWorkerProcess(place);
      try {
        return await rebuilt();
      } finally {
        await other.stop();
      }
    },
  });
  await app.close();
}
