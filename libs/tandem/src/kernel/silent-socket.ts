import type { Socket } from 'node:net';

export interface Silence {
  readonly limitMs: number;
  /** Whether an answer is due: a connection that nobody has asked anything may be silent. */
  isWaiting(): boolean;
}

/**
 * Breaks a connection on which an answer does not come: a network that swallows packets, and a server that was stopped, tell
 * nobody. The driver then reports it as it does any lost connection. Returns how to stop watching.
 */
export function breakWhenSilent(socket: Socket, { limitMs, isWaiting }: Silence): () => void {
  const look = () => {
    const { bytesRead } = socket;
    // What came while this process was stopped, or busy, is read before it is missed.
    setImmediate(() => {
      if (isWaiting() && socket.bytesRead === bytesRead && !socket.isPaused()) socket.destroy(new NoAnswer(limitMs));
    });
  };
  socket.on('timeout', look);
  socket.setTimeout(limitMs);
  return () => {
    socket.off('timeout', look);
    socket.setTimeout(0);
  };
}

/** Whoever was asked did not answer in time. */
export class NoAnswer extends Error {
  /** As the system says it of a connection that it gives up. */
  readonly code = 'ETIMEDOUT';

  constructor(limitMs: number) {
    super(`no answer within ${limitMs} ms, which is as long as one is waited for`);
  }
}
