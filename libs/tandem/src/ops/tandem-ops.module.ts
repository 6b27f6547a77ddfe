import { type CanActivate, type DynamicModule, Module, type ModuleMetadata, type Type } from '@nestjs/common';
import { RouterModule } from '@nestjs/core';
import { TandemError } from '../kernel/errors.js';
import { OPS_GUARDS, OpsGuards } from './ops-guards.js';
import { OpsService } from './ops-service.js';
import { OpsController } from './ops.controller.js';

export interface TandemOpsOptions {
  /** Who may look and act, all of them in this order: at least one. {@link LocalOnlyGuard} is ready made. */
  readonly guards: readonly [Type<CanActivate>, ...Type<CanActivate>[]];
  /** Where the routes are. Default `ops`. */
  readonly path?: string;
  /** Modules that export what the guards inject. Default none. */
  readonly imports?: ModuleMetadata['imports'];
}

const KNOWN = new Set(['guards', 'path', 'imports']);

/**
 * Routes for operators: `GET /ops/report`, `GET /ops/status`, `POST /ops/dead-letters/retry`. They tell how the application
 * is built and let failed events run again, so it does not start without a guard.
 */
@Module({})
export class TandemOpsModule {
  /** @throws TANDEM_WIRING without a guard, and for an unknown option. */
  static forRoot(options: TandemOpsOptions): DynamicModule {
    const given: Partial<TandemOpsOptions> | undefined = options;
    const unknown = Object.keys(given ?? {}).filter((name) => !KNOWN.has(name));
    if (unknown.length > 0) throw new TandemError('TANDEM_WIRING', `TandemOpsModule.forRoot does not know ${unknown.join(', ')}; it knows ${[...KNOWN].join(', ')}`);
    const guards = given?.guards ?? [];
    if (guards.length === 0) {
      throw new TandemError('TANDEM_WIRING', 'TandemOpsModule.forRoot needs at least one guard', { next: 'Give `guards: [LocalOnlyGuard]`, or one that knows your operators.' });
    }
    return {
      module: TandemOpsModule,
      imports: [...(options.imports ?? []), RouterModule.register([{ path: options.path ?? 'ops', module: TandemOpsModule }])],
      controllers: [OpsController],
      providers: [OpsService, OpsGuards, ...guards, { provide: OPS_GUARDS, useFactory: (...instances: CanActivate[]) => instances, inject: [...guards] }],
      exports: [OpsService],
    };
  }
}
