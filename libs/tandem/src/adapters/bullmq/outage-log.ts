import type { Logger } from '@nestjs/common';

const CONNECTION_ERROR = /ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENOENT|connection|not connected|timed? ?out|writeable|terminat/i;
const CONNECTION_STATES = new Set(['57P01', '57P02', '57P03', '08000', '08003', '08006']);

/**
 * BullMQ's words when a ticket was wiped, or taken for stalled (its process was killed, or too busy to renew the lock), while
 * its handler ran.
 */
const TICKET_GONE = /^(Missing (key|lock) for job|Lock mismatch for job|could not renew lock for job|Job \S+ is not in the active state|job stalled more than)/;

/** Says once that a server is away, however often its clients retry, and once that it is back. Other errors are said once until something works again. */
export class OutageLog {
  private readonly said = new Set<string>();

  constructor(
    private readonly logger: Logger,
    private readonly server: string,
  ) {}

  report(error: unknown): void {
    const { message, code } = describeError(error);
    if (TICKET_GONE.test(message)) return this.logger.debug(`${this.server}: ${message} (its run is settled in SQL)`);
    const away = isAway(message, code);
    const key = away ? 'away' : message;
    if (this.said.has(key)) return;
    this.said.add(key);
    if (away) this.logger.warn(`${this.server} does not answer (${code || message}). Nothing is lost; wake-ups and jobs go on when it is back.`);
    else this.logger.error(`${this.server}: ${message}`);
  }

  /** A ticket failed: its handler threw, or BullMQ gave it up. */
  failed(ticket: string, error: Error): void {
    const { message, code } = describeError(error);
    if (isAway(message, code)) return this.report(error);
    if (TICKET_GONE.test(message)) this.logger.debug(`${ticket}: ${message} (its run is settled in SQL)`);
    else this.logger.error(`${ticket}: ${message}`);
  }

  /** Something worked. */
  over(): void {
    if (this.said.size === 0) return;
    if (this.said.has('away')) this.logger.log(`${this.server} answers again.`);
    this.said.clear();
  }
}

const isAway = (message: string, code: string): boolean => CONNECTION_ERROR.test(`${code} ${message}`) || CONNECTION_STATES.has(code);

function describeError(error: unknown): { message: string; code: string } {
  if (!(error instanceof Error)) return { message: String(error), code: '' };
  const code = (error as { code?: unknown }).code;
  return { message: error.message || error.name, code: typeof code === 'string' ? code : '' };
}
