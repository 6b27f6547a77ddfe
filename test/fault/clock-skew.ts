/** Clocks that are off: libfaketime where it is installed, else the process's own `Date` is moved. Timers go on as they do. */
import { existsSync } from 'node:fs';

export type Skew = '+1h' | '-1h' | undefined;

const PLACES = [
  '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1',
  '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1',
  '/usr/lib/faketime/libfaketime.so.1',
  '/usr/local/lib/faketime/libfaketime.so.1',
];
const LIBRARY = process.env.LIBFAKETIME ?? PLACES.find((file) => existsSync(file));

export const SKEWED_BY = LIBRARY ? 'libfaketime' : 'a shifted Date';

const shiftedDate = (hours: number): string => `
  const RealDate = Date;
  const shift = ${hours * 3_600_000};
  globalThis.Date = class Date extends RealDate {
    constructor(...args) { super(...(args.length === 0 ? [RealDate.now() + shift] : args)); }
    static now() { return RealDate.now() + shift; }
  };`;

export interface SkewedStart {
  readonly env: Readonly<Record<string, string>>;
  readonly execArgv: readonly string[];
}

export function skewedStart(skew: Skew): SkewedStart {
  if (!skew) return { env: {}, execArgv: [] };
  if (LIBRARY) return { env: { LD_PRELOAD: LIBRARY, FAKETIME: skew, FAKETIME_DONT_FAKE_MONOTONIC: '1' }, execArgv: [] };
  return { env: {}, execArgv: ['--import', `data:text/javascript,${encodeURIComponent(shiftedDate(Number.parseInt(skew, 10)))}`] };
}
