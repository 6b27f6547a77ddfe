import type { HistoryItem, HistoryRun } from 'nest-tandem';
import { Charged, Opened } from './bank.js';

function* items(count: number): Generator<HistoryItem> {
  for (let n = 0; n < count; n++) yield { key: `${n}`, events: [new Opened(`legacy${n}`), new Charged(`legacy${n}`, '1')] };
}

/** History of accounts that were there before the log: two events each, ten accounts in a chunk. */
export const legacyAccounts = (count: number): HistoryRun => ({ source: 'legacy.accounts', chunkSize: 20, events: items(count) });
