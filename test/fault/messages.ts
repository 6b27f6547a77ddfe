import type { Act } from './failpoints.js';

export type ToProcess = { readonly kind: 'arm'; readonly point: string; readonly act: Act } | { readonly kind: 'disarm' } | { readonly kind: 'resources' };

export interface Resources {
  readonly timers: number;
  readonly sockets: number;
  readonly heapMb: number;
}

export type FromProcess = { readonly kind: 'ready' } | { readonly kind: 'tripped'; readonly point: string } | { readonly kind: 'resources'; readonly resources: Resources };
