import { TandemError } from '../kernel/errors.js';
import type { MessageFacts } from '../kernel/message-context.js';
import { newId } from '../kernel/new-id.js';
import { storedFacts } from '../events/event-metadata.js';
import { encodePayload } from '../events/payload.js';
import { ExternalJob } from './external-job.js';
import { EXTERNAL_QUEUE } from './external-jobs.js';
import type { NewJob } from './job-store.js';
import { type QueuedCommandDefinition, queuedCommandOf } from './queued-command.js';

/** Compared byte for byte, on every database. */
const SEQUENCE_KEY = /^[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,199}$/;
const TENANT = /^[A-Za-z0-9._:@/+=-]{0,64}$/;

export interface NewJobOptions {
  readonly dedupeKey?: string | null;
  readonly runAt?: Date;
}

/** A row for a queued command, or for an external job. @throws TANDEM_WIRING when the class has no `@QueuedCommand`; TANDEM_PAYLOAD_REFUSED, also for a sequence key that databases compare differently. */
export function newJob(command: object, facts: MessageFacts, { dedupeKey = null, runAt }: NewJobOptions = {}): NewJob {
  if (command instanceof ExternalJob) return externalJob(command, facts, { dedupeKey, runAt });
  const definition = queuedCommandOf(command.constructor);
  if (!definition)
    throw new TandemError('TANDEM_WIRING', `${command.constructor.name} was to be queued but has no @QueuedCommand`, {
      next: 'Add the decorator with a stable name, a queue and its effect.',
    });
  const { batchSize, name, queue, priority, delayMs } = definition;
  const sequenceKey = sequenceKeyOf(definition, command, facts.tenant);
  return { id: newId(), name, queue, payload: encodePayload(name, command), metadata: jobMetadata(facts), dedupeKey, delayMs, runAt, priority, sequenceKey, batchSize };
}

function externalJob({ data, name, options, queue }: ExternalJob, facts: MessageFacts, { dedupeKey = null, runAt }: NewJobOptions): NewJob {
  const what = `external:${queue}`;
  const job = { queue, name, data, ...options };
  const payload = encodePayload(what, job);
  // Their worker does not know our tags.
  const plain = JSON.stringify(job, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  if (payload !== plain) throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${what}: the data of "${name}" is not plain JSON`);
  return {
    ...{ id: newId(), name: what, queue: EXTERNAL_QUEUE, payload, metadata: jobMetadata(facts) },
    ...{ dedupeKey, delayMs: 0, runAt, priority: 0, sequenceKey: null },
  };
}

/** Sequences of tenants are apart. */
function sequenceKeyOf({ name, sequenceBy }: QueuedCommandDefinition, command: object, tenant = ''): string | null {
  if (!sequenceBy) return null;
  const key: unknown = sequenceBy(command);
  if (typeof key !== 'string' || !SEQUENCE_KEY.test(key))
    throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${name}: sequenceBy answered "${String(key)}", which is not a key (letters, digits and ._:@/+=-, at most 200)`);
  if (!TENANT.test(tenant)) throw new TandemError('TANDEM_PAYLOAD_REFUSED', `${name}: the tenant is not up to 64 letters, digits and ._:@/+=-`);
  return tenant === '' ? key : `${tenant}|${key}`;
}

function jobMetadata(facts: MessageFacts): string {
  return facts.tenant ? JSON.stringify({ ...(JSON.parse(storedFacts(facts)) as object), tenant: facts.tenant }) : storedFacts(facts);
}
