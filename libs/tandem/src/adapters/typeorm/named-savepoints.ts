/**
 * Savepoints that the application makes by hand (`SAVEPOINT x`, `queryRunner.startTransaction()`) and those of TypeORM's
 * transaction(): what a ROLLBACK TO undoes in the database, the unit forgets as well.
 */
import { TandemError } from '../../kernel/errors.js';
import type { Unit, UnitScope } from '../../kernel/unit-of-work.js';

export interface SavepointAct {
  readonly kind: 'set' | 'back' | 'release';
  readonly name: string;
}

const IS_ACT = /^(?:SAVEPOINT|RELEASE|ROLLBACK)\b/i;
const NAME = '([\\w$]+|`[^`]+`|"[^"]+")\\s*$';
const ACTS: readonly (readonly [SavepointAct['kind'], RegExp])[] = [
  ['set', new RegExp(`^SAVEPOINT\\s+${NAME}`, 'i')],
  ['back', new RegExp(`^ROLLBACK\\s+(?:(?:WORK|TRANSACTION)\\s+)?TO\\s+(?:SAVEPOINT\\s+)?${NAME}`, 'i')],
  ['release', new RegExp(`^RELEASE\\s+(?:SAVEPOINT\\s+)?${NAME}`, 'i')],
];

/** What a statement does to a savepoint. `isAlone`: it is not one of several. @throws TANDEM_STATEMENT_INVALID where it cannot be told which one. */
export function savepointActOf(statement: string, isAlone: boolean): SavepointAct | undefined {
  if (!IS_ACT.test(statement)) return undefined;
  for (const [kind, pattern] of ACTS) {
    const name = pattern.exec(statement)?.[1];
    if (name !== undefined && isAlone) return { kind, name: name.replace(/["`]/g, '').toLowerCase() };
  }
  throw notFollowed(`"${statement.slice(0, 60)}" was sent with something else beside it`);
}

function notFollowed(what: string): TandemError {
  return new TandemError('TANDEM_STATEMENT_INVALID', what, {
    next: 'Use dataSource.transaction(), which is a savepoint inside a unit of work, or send SAVEPOINT x, ROLLBACK TO x and RELEASE x each as a statement of its own.',
  });
}

export class NamedSavepoints {
  /** The youngest last: of two with one name that one is meant. */
  private readonly open: { readonly name: string; readonly scope: UnitScope; readonly mark: number }[] = [];

  get count(): number {
    return this.open.length;
  }

  /** Call it before the statement is sent. @throws TANDEM_STATEMENT_INVALID for a ROLLBACK TO of one that was set in some other way. */
  check({ kind, name }: SavepointAct): void {
    if (kind === 'back' && this.find(name) === -1) throw notFollowed(`ROLLBACK TO ${name} was sent, which this unit of work has not seen set`);
  }

  /** The statement was carried out. */
  note({ kind, name }: SavepointAct, unit: Unit, scope: UnitScope): void {
    if (kind === 'set') {
      this.open.push({ name, scope, mark: unit.mark() });
      return;
    }
    const index = this.find(name);
    const savepoint = this.open[index];
    if (!savepoint) return;
    if (kind === 'back') unit.forget(savepoint.scope, savepoint.mark);
    this.keep(kind === 'back' ? index + 1 : index);
  }

  /** The database forgets those that are younger. */
  keep(count: number): void {
    if (this.open.length > count) this.open.length = count;
  }

  private find(name: string): number {
    return this.open.findLastIndex((savepoint) => savepoint.name === name);
  }
}
