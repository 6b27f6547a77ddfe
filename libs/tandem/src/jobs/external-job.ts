import { TandemError } from '../kernel/errors.js';
import { knownOptions } from '../kernel/known-options.js';

export interface ExternalJobOptions {
  /** Key prefix of their queue, as their `Worker` has it. Default `bull`, which is BullMQ's own default. Queues on PostgreSQL have none. */
  readonly prefix?: string;
  /** How often their worker tries it. Default 1, as in BullMQ. */
  readonly attempts?: number;
  /** As in BullMQ: 0 comes first, then 1, 2, … up to 2,097,152. Default 0. */
  readonly priority?: number;
}

const OPTIONS: Readonly<Record<keyof ExternalJobOptions, true>> = { prefix: true, attempts: true, priority: true };
const DEFAULTS: Required<ExternalJobOptions> = { prefix: 'bull', attempts: 1, priority: 0 };
/** Printable ASCII; BullMQ allows no colon. */
const QUEUE = /^[!-9;-~]{1,100}$/;
const PREFIX = /^[!-~]{1,100}$/;
const MAX_NAME = 200;
const MOST_PRIORITY = 2_097_152;

/**
 * A job for somebody else's BullMQ queue, on the same server as Tandem's own: a durable saga returns it, or `DurableJobs.enqueue` takes it. It is stored
 * with the unit of work, handed over after its COMMIT, and done when BullMQ has accepted it. Handed over at least once, with the id of the stored job as `jobId`: BullMQ
 * knows a repeat for as long as it keeps that job, their worker by the id for ever.
 * @example `new ExternalJob('invoices', 'print', { orderId: '17' })`
 * @throws TANDEM_VALIDATION for a queue, name or option that BullMQ cannot take, TANDEM_WIRING for an unknown option. What is not plain JSON in `data` is refused when it is queued.
 */
export class ExternalJob {
  readonly options: Readonly<Required<ExternalJobOptions>>;

  constructor(
    readonly queue: string,
    readonly name: string,
    readonly data: unknown,
    options: ExternalJobOptions = {},
  ) {
    this.options = Object.freeze({ ...DEFAULTS, ...knownOptions('ExternalJob', options, OPTIONS) });
    const [path, message] = problemOf(this) ?? [];
    if (path !== undefined) throw new TandemError('TANDEM_VALIDATION', `An external job cannot be queued: ${message}`, { data: { violations: [{ path, message }] } });
  }
}

function problemOf({ name, options: { attempts, prefix, priority }, queue }: ExternalJob): readonly [path: string, message: string] | undefined {
  if (typeof queue !== 'string' || !QUEUE.test(queue)) return ['queue', 'queue must be up to 100 letters, digits and signs of ASCII, without a colon'];
  if (typeof name !== 'string' || name === '' || name.length > MAX_NAME) return ['name', `name must have 1 to ${MAX_NAME} characters`];
  if (typeof prefix !== 'string' || !PREFIX.test(prefix)) return ['prefix', 'prefix must be up to 100 letters, digits and signs of ASCII'];
  if (!Number.isSafeInteger(attempts) || attempts < 1) return ['attempts', 'attempts must be a whole number from 1'];
  if (!Number.isSafeInteger(priority) || priority < 0 || priority > MOST_PRIORITY) return ['priority', `priority must be a whole number from 0 to ${MOST_PRIORITY}`];
  return undefined;
}
