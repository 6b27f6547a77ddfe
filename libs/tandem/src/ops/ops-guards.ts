import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { firstValueFrom, isObservable } from 'rxjs';

/** The guards that the application gave to `TandemOpsModule.forRoot`, as instances. */
export const OPS_GUARDS = Symbol('tandem:ops-guards');

/** Runs the application's guards in order; the first that refuses ends it. */
@Injectable()
export class OpsGuards implements CanActivate {
  constructor(@Inject(OPS_GUARDS) private readonly guards: readonly CanActivate[]) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    for (const guard of this.guards) {
      const verdict = guard.canActivate(context);
      if (!(await (isObservable(verdict) ? firstValueFrom(verdict) : verdict))) return false;
    }
    return true;
  }
}
