import { createHash, timingSafeEqual } from 'node:crypto';
import { type CanActivate, type ExecutionContext, Inject, Injectable, UnauthorizedException } from '@nestjs/common';
import { ENVIRONMENT, type Environment } from './environment.js';

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Lets in who sends `Authorization: Bearer` with OPS_TOKEN. The comparison takes as long for a wrong token as for a nearly right one. */
@Injectable()
export class OpsTokenGuard implements CanActivate {
  private readonly expected: Buffer;

  constructor(@Inject(ENVIRONMENT) { opsToken }: Environment) {
    if (opsToken === undefined) throw new Error('OpsTokenGuard needs OPS_TOKEN');
    this.expected = digest(`Bearer ${opsToken}`);
  }

  /** @throws UnauthorizedException */
  canActivate(context: ExecutionContext): boolean {
    const { authorization } = context.switchToHttp().getRequest<{ readonly headers: { readonly authorization?: string } }>().headers;
    if (!timingSafeEqual(digest(authorization ?? ''), this.expected)) throw new UnauthorizedException('Send "Authorization: Bearer" with the OPS_TOKEN of this application.');
    return true;
  }
}
