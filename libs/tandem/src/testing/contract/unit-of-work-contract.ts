import { commitPromises } from './commit-promises.js';
import { casesOf, type ContractCase, type Open } from './contract-case.js';
import { overlappingUnitPromises } from './overlapping-unit-promises.js';
import { transactionPromises } from './transaction-promises.js';
import type { UnitOfWorkUnderTest } from './unit-of-work-under-test.js';

/** What every {@link UnitOfWork} promises. */
export function unitOfWorkContract(open: Open<UnitOfWorkUnderTest>): readonly ContractCase[] {
  return [...casesOf(open, { ...transactionPromises, ...commitPromises }), ...casesOf(open, overlappingUnitPromises, { overlapping: true })];
}
