import { appendPromises } from './append-promises.js';
import { casesOf, type ContractCase, type Open } from './contract-case.js';
import type { EventLogUnderTest } from './event-log-under-test.js';
import { manyWritersPromises, overlappingAppendPromises } from './many-writers-promises.js';
import { readPromises } from './read-promises.js';

/** What every {@link EventLog} promises. */
export function eventLogContract(open: Open<EventLogUnderTest>): readonly ContractCase[] {
  return [...casesOf(open, { ...appendPromises, ...readPromises, ...manyWritersPromises }), ...casesOf(open, overlappingAppendPromises, { overlapping: true })];
}
