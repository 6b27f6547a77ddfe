import type { TandemRole } from 'nest-tandem';
import type { MutantName } from '../mutants.js';

/** Where a process of the rig finds everything. The class is also its token. */
export class Site {
  constructor(given: Site) {
    Object.assign(this, given);
  }
  readonly name!: string;
  readonly role!: Extract<TandemRole, 'api' | 'worker'>;
  readonly databaseUrl!: string;
  readonly redisUrl!: string;
  readonly mailUrl!: string;
  /** Of an API. */
  readonly port!: number;
  /** A rule to break on purpose. */
  readonly mutant?: MutantName;
}
