import type { Type } from '@nestjs/common';
import type { EntityManagerOf } from '../events/storage-types.js';

/**
 * Something that must be equal on the write side and on the read side, at one position of the log. A provider that extends this
 * class is found by itself.
 */
export abstract class ConsistencyRule {
  /** Names the rule in reports, and in `check([name])`. */
  abstract readonly name: string;
  /** Names of the projections that are brought to the position. Default: those that write {@link entities}. */
  readonly projections?: readonly string[];
  /** The read entities that `read` looks at. Default: any, so that every projection is brought to the position. */
  readonly entities?: readonly Type[];

  /** What it is on the write side. Read with this manager only: it is the snapshot's. */
  abstract write(manager: EntityManagerOf): Promise<number | string>;
  /** What it is on the read side. Read with this manager only: it is the snapshot's. */
  abstract read(manager: EntityManagerOf): Promise<number | string>;
}

export interface RowCounts {
  readonly write: Type;
  readonly read: Type;
  /** TypeORM `where` of either side. Default: all rows. */
  readonly where?: { readonly write?: object; readonly read?: object };
}

/** What this rule needs of the storage's manager. */
interface Counting {
  countBy(entity: Type, where: object): Promise<number>;
}

/**
 * As many rows in the write entity as in the read entity.
 *
 * @example
 * \@Injectable()
 * export class UserCountConsistencyRule extends RowCountRule {
 *   constructor() {
 *     super('users.count', { write: User, read: UserView });
 *   }
 * }
 */
export abstract class RowCountRule extends ConsistencyRule {
  override readonly entities: readonly Type[];

  constructor(
    override readonly name: string,
    private readonly counts: RowCounts,
  ) {
    super();
    this.entities = [counts.read];
  }

  override write(manager: EntityManagerOf): Promise<number> {
    return (manager as Counting).countBy(this.counts.write, this.counts.where?.write ?? {});
  }

  override read(manager: EntityManagerOf): Promise<number> {
    return (manager as Counting).countBy(this.counts.read, this.counts.where?.read ?? {});
  }
}
