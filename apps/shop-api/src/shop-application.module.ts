import { join } from 'node:path';
import { type DynamicModule, Global, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { LoggingInterceptor, MetricsInterceptor, TandemModule, ValidationInterceptor } from 'nest-tandem';
import { LocalOnlyGuard, TandemOpsModule } from 'nest-tandem/ops';
import { tandemDataSource } from 'nest-tandem/typeorm';
import { ShopModule } from 'shop';
import { ENVIRONMENT, type Environment } from './environment.js';
import { OpsTokenGuard } from './ops-token.guard.js';
import { platformOf } from './platform.js';
import { ProblemDetailsFilter } from './problem-details.filter.js';
import { ReadSide } from './read-side.js';

/** The whole application on what the environment chose; the same for the API, the worker and the commands. */
@Global()
@Module({})
export class ShopApplicationModule {
  static forRoot(environment: Environment): DynamicModule {
    const { storage, jobs, dataSource } = platformOf(environment);
    return {
      module: ShopApplicationModule,
      imports: [
        TypeOrmModule.forRootAsync({ useFactory: dataSource, dataSourceFactory: tandemDataSource }),
        TandemModule.forRoot({ storage, jobs, role: environment.role, interceptors: [LoggingInterceptor, MetricsInterceptor, ValidationInterceptor] }),
        ShopModule.forRoot({ outboxDir: join(environment.dataDir, 'outbox') }),
        TandemOpsModule.forRoot({ guards: [environment.opsToken === undefined ? LocalOnlyGuard : OpsTokenGuard] }),
      ],
      providers: [{ provide: ENVIRONMENT, useValue: environment }, ProblemDetailsFilter, ReadSide],
      exports: [ENVIRONMENT],
    };
  }
}
