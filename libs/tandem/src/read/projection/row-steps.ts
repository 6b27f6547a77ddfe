import { EventFailure, type ConsumedEvent } from '../../events/consumer.js';
import { categoryOf, domainEventOf, type StreamName } from '../../events/domain-event.js';
import type { KeyLookup, OnMark, RowKey } from '../../events/on.js';
import type { EntityManagerOf } from '../../events/storage-types.js';
import { TandemError } from '../../kernel/errors.js';
import { inTime } from '../../kernel/in-time.js';
import { failureOf } from './projection-marks.js';
import { namedKeys, type NamedKey } from './row-key.js';
import type { RowShape } from './row-store.js';

/** One method to call for one event, with the rows that it changes. */
export interface RowStep {
  readonly consumed: ConsumedEvent;
  readonly mark: OnMark;
  readonly keys: readonly NamedKey[];
}

/** What a `lookup` may use, and how long it may take. */
interface Lookups {
  readonly manager: () => EntityManagerOf;
  readonly timeoutMs: number;
}

type Answer = RowKey | readonly RowKey[] | null;
interface Asked {
  readonly consumed: ConsumedEvent;
  readonly mark: OnMark;
}

/**
 * What a batch has to do, in the order of its events; asks each `lookup` once.
 * @throws EventFailure naming the event whose key is missing or wrong.
 */
export async function rowSteps(events: readonly ConsumedEvent[], marks: ReadonlyMap<string, readonly OnMark[]>, shape: RowShape, lookups: Lookups): Promise<readonly RowStep[]> {
  const asked: Asked[] = [];
  for (const consumed of events) for (const mark of marks.get(consumed.metadata.type) ?? []) asked.push({ consumed, mark });
  const found = await lookUp(asked, lookups);
  return asked.map((each) => {
    try {
      const answer = found.has(each) ? lookedUp(each, found.get(each)!) : answerOf(each);
      return { consumed: each.consumed, mark: each.mark, keys: answer === null ? [] : namedKeys(shape, answer) };
    } catch (cause) {
      throw failureOf(each.consumed, cause);
    }
  });
}

function answerOf({ consumed: { event, metadata }, mark }: Asked): Answer {
  const { key } = mark.options;
  if (typeof key === 'function') return key(event, metadata);
  const { expected, stream } = ownStreamOf(mark);
  const [category, id] = stream(event);
  // Batches may run at once because streams of one category lead to rows of their own.
  if (expected !== undefined && category !== expected) {
    throw new TandemError('TANDEM_WIRING', `The category of ${metadata.type} depends on the event (${expected}, ${category})`, { next: 'Give its handler a `key`.' });
  }
  return id;
}

interface OwnStream {
  readonly stream: (event: object) => StreamName;
  readonly expected: string | undefined;
}

const ownStreams = new WeakMap<OnMark, OwnStream>();

function ownStreamOf(mark: OnMark): OwnStream {
  const known = ownStreams.get(mark);
  if (known) return known;
  const own = { stream: domainEventOf(mark.event)!.stream, expected: categoryOf(mark.event) };
  ownStreams.set(mark, own);
  return own;
}

function lookedUp({ mark }: Asked, answer: Answer): Answer {
  if (answer === null && mark.options.whenMissing !== 'ignore') throw new TandemError('TANDEM_ROW_MISSING', `The lookup of ${mark.method} found no key for the event`);
  return answer;
}

const hasLookup = (key: unknown): key is KeyLookup<unknown> => typeof key === 'object' && key !== null;

async function lookUp(asked: readonly Asked[], lookups: Lookups): Promise<ReadonlyMap<Asked, Answer>> {
  const byMark = new Map<OnMark, Asked[]>();
  for (const each of asked) {
    if (!hasLookup(each.mark.options.key)) continue;
    const askers = byMark.get(each.mark);
    if (askers) askers.push(each);
    else byMark.set(each.mark, [each]);
  }
  const found = new Map<Asked, Answer>();
  for (const [mark, askers] of byMark) {
    const answers = await ask(mark, askers, lookups);
    askers.forEach((asker, i) => found.set(asker, answers[i]!));
  }
  return found;
}

async function ask(mark: OnMark, askers: readonly Asked[], { manager, timeoutMs }: Lookups): Promise<readonly Answer[]> {
  try {
    const asking = (mark.options.key as KeyLookup<unknown>).lookup(
      askers.map(({ consumed }) => consumed.event),
      manager(),
    );
    const answers = await inTime(asking, timeoutMs, `The lookup of ${mark.method}`);
    if (answers.length === askers.length) return answers;
    throw new TandemError('TANDEM_WIRING', `The lookup of ${mark.method} answered ${answers.length} keys for ${askers.length} events`, {
      next: 'Answer one key, list or null for each event, in order.',
    });
  } catch (error) {
    // with several events nobody knows whose fault it is
    throw askers.length === 1 ? new EventFailure(askers[0]!.consumed.stored, error) : error;
  }
}
