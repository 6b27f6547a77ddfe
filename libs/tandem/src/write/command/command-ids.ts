import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { canonicalText } from '../../kernel/canonical-text.js';
import { TandemError } from '../../kernel/errors.js';
import { type CommandId, currentMessage, type MessageFacts } from '../../kernel/message-context.js';
import type { Unit } from '../../kernel/unit-of-work.js';
import { hasUnseenState } from '../../kernel/unseen-state.js';
import { EventCapture } from '../../events/event-capture.js';
import { decodeResult, encodeResult } from '../../events/payload.js';
import { noteWrittenBefore } from '../../events/written.js';
import { CommandStore, type NewCommand, type RecordedCommand } from './command-store.js';

const MAX_NAME_CHARS = 120;

/** Gives a command that was sent with an id its effect once. */
@Injectable()
export class CommandIds {
  constructor(
    private readonly store: CommandStore,
    private readonly capture: EventCapture,
  ) {}

  /** The record-to-be of the command that is being handled, or undefined when it was sent without an id. @throws TANDEM_PAYLOAD_REFUSED when it cannot be compared with a repeat. */
  current(command: object, name: string): NewCommand | undefined {
    const facts = currentMessage();
    const commandId = facts?.commandId;
    if (!facts || !commandId) return undefined;
    return { scope: scopeOf(facts), commandId: commandId.id, name: name.slice(0, MAX_NAME_CHARS), fingerprint: hash([name, contentOf(command, commandId)]) };
  }

  /** Handles the command in the unit, or returns what it answered before. @throws TANDEM_COMMAND_ID_CONFLICT, TANDEM_COMMAND_ID_REFUSED, TANDEM_COMMAND_IN_PROGRESS, TANDEM_PAYLOAD_REFUSED, and what `handle` throws. */
  async once(unit: Unit, command: NewCommand, handle: () => Promise<unknown>): Promise<unknown> {
    if (unit.kind !== 'write') throw idRefused(command.name, command.commandId);
    const earlier = await this.store.take(unit, command);
    if (earlier) return this.answerOf(unit, command, earlier);
    const result = await handle();
    this.capture.complete(unit, { scope: command.scope, commandId: command.commandId, result: encodeResult(`the result of ${command.name}`, result) });
    return result;
  }

  private answerOf(unit: Unit, { commandId, fingerprint, name, scope }: NewCommand, earlier: RecordedCommand): unknown {
    if (earlier.fingerprint !== fingerprint) {
      const as = earlier.name === name ? 'with other content' : `for ${earlier.name}`;
      throw new TandemError('TANDEM_COMMAND_ID_CONFLICT', `${name} was sent under the id "${commandId}", which was used before ${as}`, {
        data: { commandId, command: name, before: earlier.name },
      });
    }
    // Of several in one unit the last one holds; it was sent after what it repeats.
    const result = earlier.result ?? this.capture.outcomesIn(unit).find((outcome) => outcome.commandId === commandId && outcome.scope === scope)?.result;
    if (result === undefined)
      throw new TandemError('TANDEM_COMMAND_IN_PROGRESS', `${name} was sent under the id "${commandId}" by its own handler`, { next: 'Give it an id of its own, or none.' });
    noteWrittenBefore(earlier.written);
    return decodeResult(result);
  }
}

/** Where the id could not be kept with the writes that it stands for. */
export const idRefused = (name: string, id: string): TandemError =>
  new TandemError('TANDEM_COMMAND_ID_REFUSED', `${name} was sent under the id "${id}", but its handler runs in no unit of work on the data source of the log`);

/** For the outside world: the same for every repeat of the command, and nobody else's. */
export const idempotencyKeyOf = (facts: MessageFacts, { id }: CommandId): string => hash([scopeOf(facts), id]);

const scopeOf = ({ actor, tenant }: MessageFacts): string => hash([tenant ?? null, actor ?? null]);

function contentOf(command: object, { content }: CommandId): string {
  if (content) return content();
  if (hasUnseenState(command))
    throw new TandemError(
      'TANDEM_PAYLOAD_REFUSED',
      `${command.constructor.name} was sent with an id but has private fields, or keeps none of its parameters, so that nobody can tell a repeat from another one`,
      {
        next: 'Make its properties public.',
      },
    );
  return canonicalText(command, 'a command with an id');
}

const hash = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex');
