export { startWorker } from './boot.js';
export { readEnvironment } from './environment.js';
export type { Environment } from './environment.js';
export { CannotStart, runProcess } from './process-life.js';
export type { Closable } from './process-life.js';
