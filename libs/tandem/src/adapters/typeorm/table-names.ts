import { TandemError } from '../../kernel/errors.js';

/** Tandem's own tables. Their names need no quotes in any dialect. */
export interface TableNames {
  readonly shard: string;
  readonly event: string;
  readonly consumer: string;
  readonly checkpoint: string;
  readonly deadLetter: string;
  readonly rebuild: string;
  readonly job: string;
  readonly command: string;
  readonly meta: string;
}

export const DEFAULT_TABLE_PREFIX = 'tandem_';
const PREFIX = /^[a-z][a-z0-9_]{0,30}$/;

/** @throws TANDEM_WIRING for a prefix that is not a lower-case letter, then at most 30 lower-case letters, digits and underscores. */
export function tableNames(prefix: string = DEFAULT_TABLE_PREFIX): TableNames {
  if (!PREFIX.test(prefix)) {
    throw new TandemError('TANDEM_WIRING', `tablePrefix "${prefix}" is not a lower-case letter followed by at most 30 lower-case letters, digits and underscores`);
  }
  return Object.freeze({
    shard: `${prefix}shard`,
    event: `${prefix}event`,
    consumer: `${prefix}consumer`,
    checkpoint: `${prefix}checkpoint`,
    deadLetter: `${prefix}dead_letter`,
    rebuild: `${prefix}rebuild`,
    job: `${prefix}job`,
    command: `${prefix}command`,
    meta: `${prefix}meta`,
  });
}
