/** Reads a stream page by page, and a page again where it has a hole: MariaDB may show a later commit without an earlier one. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StoredEvent, StreamRead } from '../../events/event-log.js';
import { TandemError } from '../../kernel/errors.js';

const PAGE = 500;
const TRIES = 10;
const PAUSE_MS = 20;

/** One stream, as the database shows it at this moment. */
export interface StreamPages {
  readonly stream: string;
  /** 0 for a stream without events. */
  lastVersion(): Promise<number>;
  /** `from <= version <= upTo`, in version order. */
  between(from: number, upTo: number): Promise<StoredEvent[]>;
}

export async function readStream({ backwards = false, fromVersion, limit = Infinity }: StreamRead, pages: StreamPages): Promise<readonly StoredEvent[]> {
  const events: StoredEvent[] = [];
  const room = (): number => Math.min(PAGE, limit - events.length);
  if (backwards) {
    for (let upTo = Math.min(fromVersion ?? Infinity, await pages.lastVersion()); upTo > 0 && room() > 0;) {
      const from = Math.max(1, upTo - room() + 1);
      events.push(...(await wholePage(pages, { from, upTo, atLeast: upTo - from + 1 })).reverse());
      upTo = from - 1;
    }
    return events;
  }
  for (let from = Math.max(1, fromVersion ?? 1); room() > 0;) {
    const upTo = from + room() - 1;
    const page = await wholePage(pages, { from, upTo, atLeast: 0 });
    events.push(...page);
    if (page.length <= upTo - from) break;
    from = upTo + 1;
  }
  return events;
}

async function wholePage(pages: StreamPages, { from, upTo, atLeast }: { from: number; upTo: number; atLeast: number }): Promise<StoredEvent[]> {
  for (let tries = 1; ; tries++) {
    const page = await pages.between(from, upTo);
    const whole = page.findIndex(({ version }, i) => version !== from + i);
    if (whole === -1 && page.length >= atLeast) return page;
    const missing = from + (whole === -1 ? page.length : whole);
    if (tries === TRIES) throw new TandemError('TANDEM_STORAGE_UNAVAILABLE', `${pages.stream} has a version ${page[whole]?.version ?? upTo} but no version ${missing}`);
    await sleep(PAUSE_MS);
  }
}
