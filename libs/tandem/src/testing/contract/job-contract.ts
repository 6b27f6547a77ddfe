import { changePromises } from './change-promises.js';
import { casesOf, type ContractCase, type Open } from './contract-case.js';
import { duePromises } from './due-promises.js';
import { claimJobPromises, endPromises, insertPromises } from './job-promises.js';
import type { JobsUnderTest } from './jobs-under-test.js';
import { overlappingSequencePromises, sequencePromises } from './sequence-promises.js';
import { togetherPromises } from './together-promises.js';

/** What every {@link JobStore} promises. */
export function jobContract(open: Open<JobsUnderTest>): readonly ContractCase[] {
  return [
    ...casesOf(open, { ...insertPromises, ...claimJobPromises, ...endPromises, ...togetherPromises, ...duePromises, ...changePromises, ...sequencePromises }),
    ...casesOf(open, overlappingSequencePromises, { overlapping: true }),
  ];
}
