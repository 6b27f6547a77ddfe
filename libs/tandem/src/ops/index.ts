export { LocalOnlyGuard } from './local-only.guard.js';
export { OpsService } from './ops-service.js';
export type { OpsStatus, RetriedStreams } from './ops-service.js';
export { TandemOpsModule } from './tandem-ops.module.js';
export type { TandemOpsOptions } from './tandem-ops.module.js';
