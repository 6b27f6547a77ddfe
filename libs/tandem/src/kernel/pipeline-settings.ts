import type { CanActivate, NestInterceptor, PipeTransform, Type } from '@nestjs/common';

/** What the handler pipeline needs of the module's options; see `TandemSettings` for meaning and defaults. Also its token in DI. */
export abstract class PipelineSettings {
  abstract readonly inheritGlobalEnhancers: boolean;
  abstract readonly interceptors: readonly Type<NestInterceptor>[];
  abstract readonly guards: readonly Type<CanActivate>[];
  abstract readonly pipes: readonly Type<PipeTransform>[];
}
