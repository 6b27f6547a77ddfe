import { type MessageFacts, nextMessage } from './message-context.js';

const prepared = new WeakMap<object, MessageFacts>();

/** Gives a message its facts before it is sent to a bus: a job is the command that it carries, with the same id in every attempt. Used once. */
export function prepareMessage(message: object, facts: MessageFacts): void {
  prepared.set(message, facts);
}

/** The facts prepared for this message, or those of a new one. */
export function factsFor(message: object): MessageFacts {
  const facts = prepared.get(message);
  prepared.delete(message);
  return facts ?? nextMessage();
}
