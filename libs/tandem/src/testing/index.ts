export { consumed } from './consumed.js';
export { InMemoryRowStore } from './in-memory-row-store.js';
export { tandem } from './tandem.js';
export type { TandemTester } from './tandem.js';
