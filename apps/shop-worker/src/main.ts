import { CannotStart, readEnvironment, runProcess, startWorker } from 'shop-api';

await runProcess('shop-worker', async () => {
  const environment = readEnvironment();
  if (environment.databaseUrl === undefined) throw new CannotStart('set DATABASE_URL: the embedded database serves one process, and there the API runs the workers itself.');
  return startWorker({ ...environment, role: 'worker' });
});
