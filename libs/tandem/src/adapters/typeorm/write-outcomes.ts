/** The records of commands that were sent with an id, completed with an append: in the same statement where that is possible. */
import type { CommandOutcome } from '../../events/command-outcome.js';
import type { PendingEvent } from '../../events/event-log.js';
import { MAX_WRITTEN_STREAMS } from '../../events/written.js';
import type { BoundText, Sql } from './sql.js';
import type { TableNames } from './table-names.js';

/** An UPDATE of one record. `positions` is an expression, with its parameters, of a JSON object: shard → number. */
export function outcomeUpdate({ commandId, result, scope }: CommandOutcome, { positions, streams, tables }: Completion): BoundText {
  return {
    text: `UPDATE ${tables.command} SET result = ?, positions = ${positions.text}, streams = ? WHERE scope = ? AND command_id = ?`,
    params: [result, ...positions.params, JSON.stringify(streams), scope, commandId],
  };
}

export interface Completion {
  readonly positions: BoundText;
  readonly streams: readonly string[];
  readonly tables: TableNames;
}

export const streamsOf = (events: readonly Pick<PendingEvent, 'tenant' | 'stream'>[]): readonly string[] =>
  [...new Set(events.map(({ stream, tenant }) => `${tenant}\n${stream}`))].slice(0, MAX_WRITTEN_STREAMS);

/** Shard → highest number, of events that have their numbers. */
export function positionsText(events: readonly { readonly shard: number; readonly seq: number }[]): string {
  const positions: Record<number, number> = {};
  for (const { seq, shard } of events) positions[shard] = Math.max(seq, positions[shard] ?? 0);
  return JSON.stringify(positions);
}

/** In statements of their own. */
export async function writeOutcomes(sql: Sql, outcomes: readonly CommandOutcome[], completion: Completion): Promise<void> {
  for (const outcome of outcomes) {
    const { text, params } = outcomeUpdate(outcome, completion);
    await sql.query(text, params);
  }
}

/** PostgreSQL: before a statement, so that they are one. */
export function withOutcomes(statement: BoundText, outcomes: readonly CommandOutcome[], completion: Completion): BoundText {
  if (outcomes.length === 0) return statement;
  const updates = outcomes.map((outcome) => outcomeUpdate(outcome, completion));
  return {
    text: `WITH ${updates.map(({ text }, i) => `outcome${i} AS (${text})`).join(', ')} ${statement.text}`,
    params: [...updates.flatMap(({ params }) => params), ...statement.params],
  };
}
