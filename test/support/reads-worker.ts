// A worker whose journal stops before COMMIT at the account `stuck`, for a test that kills the process there.
import 'reflect-metadata';
import { type ReadsPlace, startReadsBank } from './reads-application.js';

// A test that was itself ended leaves none behind.
process.once('disconnect', () => process.exit());

const bank = await startReadsBank(JSON.parse(process.argv[2]!) as ReadsPlace, { role: 'worker' });
bank.before.hook = (accountId) => {
  if (accountId !== 'stuck') return Promise.resolve();
  process.send!('written');
  return new Promise(() => undefined);
};
process.send!('ready');
