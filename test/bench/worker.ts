/** A worker in a process of its own: the ledger's projection, and an echo for the round trip of an empty job. Its place and its settings come as JSON in its arguments. */
import 'reflect-metadata';
import { Worker } from 'bullmq';
import { type BenchPlace, startLedger } from './ledger.js';
import { ECHO, type WorkerSettings } from './worker-process.js';

const place = JSON.parse(process.argv[2]!) as BenchPlace;
const settings = JSON.parse(process.argv[3]!) as WorkerSettings;
const { app } = await startLedger(place, { role: 'worker', ...settings });
const echo = new Worker(ECHO, async () => undefined, { connection: { url: place.redisUrl }, prefix: place.queuePrefix });
echo.on('error', (error) => process.stderr.write(`${error.message}\n`));
await echo.waitUntilReady();
process.once('disconnect', () => {
  void echo
    .close()
    .then(() => app.close())
    .then(() => process.exit(0));
});
process.send!('ready');
