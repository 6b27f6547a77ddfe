import { type CanActivate, type ExecutionContext, ForbiddenException, Injectable } from '@nestjs/common';

interface OpsRequest {
  readonly socket: { readonly remoteAddress?: string };
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

const LOOPBACK = /^(127(\.\d{1,3}){3}|::1|::ffff:127(\.\d{1,3}){3})$/;
const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;
const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'];

/**
 * Lets in what comes from this machine. It looks at the socket, never at a header that names an address; a proxy's header,
 * a foreign `Host` (a rebound name) or a foreign `Origin` (a web page) is refused.
 */
@Injectable()
export class LocalOnlyGuard implements CanActivate {
  /** @throws ForbiddenException */
  canActivate(context: ExecutionContext): boolean {
    const { socket, headers } = context.switchToHttp().getRequest<OpsRequest>();
    const host = String(headers.host ?? '');
    const local = LOOPBACK.test(socket.remoteAddress ?? '') && LOOPBACK_HOST.test(host) && FORWARDED.every((name) => headers[name] === undefined);
    if (!local || (headers.origin !== undefined && headers.origin !== `http://${host}`)) throw new ForbiddenException('This answers requests from its own machine only.');
    return true;
  }
}
