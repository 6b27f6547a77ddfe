import { currentMessage, type MessageFacts } from '../../kernel/message-context.js';

/** By the facts of the message, which are of one execution only: the same query may be sent again, and a pipe may have replaced it. */
const hits = new WeakSet<MessageFacts>();

/** Remembers that the current message was answered without running its handler. */
export function noteCacheHit(): void {
  const facts = currentMessage();
  if (facts) hits.add(facts);
}

/** True when the message of these facts was answered from the cache. */
export const wasCacheHit = (facts: MessageFacts | undefined): boolean => facts !== undefined && hits.has(facts);
