/** What the read rows are made of: the rig computes the same from the log. */
import { createHash } from 'node:crypto';

const TOTALS = 8;

/** Totals are rows that many streams feed. */
export const totalOf = (account: string): string => `total${Number(account.slice(1)) % TOTALS}`;

export const nextDigest = (before: string, { command, index }: { readonly command: string; readonly index: number }): string =>
  createHash('sha1').update(`${before} ${command} ${index}`).digest('hex');
