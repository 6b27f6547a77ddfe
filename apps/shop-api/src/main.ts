import { startApi, startWorker } from './boot.js';
import { readEnvironment } from './environment.js';
import { runProcess } from './process-life.js';

await runProcess('shop-api', async () => {
  const environment = readEnvironment();
  return environment.role === 'worker' ? startWorker(environment) : startApi(environment);
});
