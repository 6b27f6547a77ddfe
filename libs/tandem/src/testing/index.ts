// Of applications
export { consumed } from './consumed.js';
export { InMemoryRowStore } from './in-memory-row-store.js';
export { tandem } from './tandem.js';
export type { TandemTester } from './tandem.js';

// Of adapters: what each port promises
export type { ContractCase, Open } from './contract/contract-case.js';
export { eventLogContract } from './contract/event-log-contract.js';
export type { EventLogUnderTest } from './contract/event-log-under-test.js';
export { unitOfWorkContract } from './contract/unit-of-work-contract.js';
export type { ContractRows, UnitOfWorkUnderTest } from './contract/unit-of-work-under-test.js';
export { consumerContract } from './contract/consumer-contract.js';
export type { ConsumersUnderTest } from './contract/consumers-under-test.js';
export { commandContract } from './contract/command-contract.js';
export type { CommandsUnderTest } from './contract/commands-under-test.js';
export { jobContract } from './contract/job-contract.js';
export type { JobsUnderTest } from './contract/jobs-under-test.js';
