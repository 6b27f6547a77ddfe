import type { ExecutionContext } from '@nestjs/common';

/** Who acts, and for whom. Runs after the guards of the HTTP route; never read these straight from headers. */
export type Identity = (context: ExecutionContext) => { readonly actor?: string; readonly tenant?: string };

/** What the request context needs of the module's options; see `TandemSettings` for meaning and defaults. Also its token in DI. */
export abstract class RequestSettings {
  abstract readonly identity: Identity | undefined;
}
