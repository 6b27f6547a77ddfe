import { batchPromises, failurePromises, manyWorkersPromises } from './batch-promises.js';
import { claimPromises, overlappingClaimPromises } from './claim-promises.js';
import type { ConsumersUnderTest } from './consumers-under-test.js';
import { casesOf, type ContractCase, type Open } from './contract-case.js';
import { letterPromises, overlappingLetterPromises } from './letter-promises.js';
import { registerPromises } from './register-promises.js';

/** What every {@link ConsumerStore} and {@link DeadLetterStore} promise, and what batches on them then guarantee. */
export function consumerContract(open: Open<ConsumersUnderTest>): readonly ContractCase[] {
  return [
    ...casesOf(open, { ...registerPromises, ...claimPromises, ...letterPromises, ...batchPromises, ...failurePromises, ...manyWorkersPromises }),
    ...casesOf(open, { ...overlappingClaimPromises, ...overlappingLetterPromises }, { overlapping: true }),
  ];
}
