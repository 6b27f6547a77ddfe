import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BankPlace } from './bank-application.js';
import type { BankChild } from './bank-child.js';

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

/** The bank in a process of its own, and all that it has said so far. */
export function forkBank(place: BankPlace, options: Omit<BankChild, 'place'>): { readonly child: ChildProcess; readonly said: () => string } {
  const { database, name, queuePrefix, redisUrl } = place;
  const given: BankChild = { ...options, place: { name, queuePrefix, redisUrl, database: { url: database!.url, dataSourceOptions: database!.dataSourceOptions } } };
  const child = fork(here('./run-typescript.mjs'), [here('./bank-child.ts'), JSON.stringify(given)], { execArgv: [], silent: true });
  let said = '';
  child.stderr!.on('data', (text) => (said += text));
  child.stdout!.on('data', (text) => (said += text));
  child.on('message', (message) => (said += JSON.stringify(message)));
  return { child, said: () => said };
}
