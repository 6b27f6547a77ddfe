import { currentNotes } from '../kernel/message-context.js';

const HANDLED = Symbol('tandem:handled-commands');

/** Notes for the current request that a command of it was done. */
export function noteHandled(): void {
  const notes = currentNotes();
  if (notes) notes[HANDLED] = true;
}

/** Whether the current request has done a command: a repeated one may have committed nothing, and still its sender wants to see what is there. */
export const hasHandled = (): boolean => currentNotes()?.[HANDLED] === true;
