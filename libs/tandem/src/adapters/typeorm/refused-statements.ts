import { TandemError } from '../../kernel/errors.js';
import { savepointActOf, type SavepointAct } from './named-savepoints.js';
import { cutAt, type Dialect } from './statement-text.js';

/** What may stand before the first word. MySQL runs what is in `/*! … *\/`, so that is no comment. */
const BEFORE_FIRST_WORD = /^(?:\s|\(|--[^\n]*(?:\n|$)|\/\*(?!M?!)[\s\S]*?\*\/|\/\*M?!\d*)+/;
const BEFORE_FIRST_WORD_MYSQL = /^(?:\s|\(|--[^\n]*(?:\n|$)|#[^\n]*(?:\n|$)|\/\*(?!M?!)[\s\S]*?\*\/|\/\*M?!\d*)+/;

/** Also what commits implicitly on MySQL and answers with rows, which carry no sign of it. */
const DDL =
  /^(?:CREATE|ALTER|DROP|TRUNCATE|RENAME|GRANT|REVOKE|COMMENT|REINDEX|INSTALL|UNINSTALL|FLUSH|(?:UN)?LOCK\s+TABLES?|(?:ANALYZE|OPTIMIZE|REPAIR|CHECK)\s+(?:\w+\s+)?TABLES?|(?:CACHE|LOAD)\s+INDEX)\b/i;
const HARMLESS_ON_MYSQL = /^(?:CREATE|DROP)\s+TEMPORARY\s+TABLE\b/i;
const HARMLESS_ON_POSTGRES = /^LOCK\b/i;
const ENDS_TRANSACTION =
  /^(?:COMMIT|END|ABORT|BEGIN|START\s+TRANSACTION|PREPARE\s+TRANSACTION|XA|SET\s+(?:SESSION\s+|@@(?:SESSION\.)?)?AUTOCOMMIT|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b))\b/i;

/**
 * What the text does to a savepoint, if that is what it is about.
 * @throws TANDEM_DDL_REFUSED for a statement that would commit or end the unit's transaction: DDL, and transaction control.
 */
export function inspectStatement(text: string, dialect: Dialect): SavepointAct | undefined {
  const statements = text.includes(';') ? cutAt(';', text, dialect).filter((statement) => /\S/.test(statement)) : [text];
  let act: SavepointAct | undefined;
  for (const statement of statements) {
    const bare = statement.replace(dialect === 'mysql' ? BEFORE_FIRST_WORD_MYSQL : BEFORE_FIRST_WORD, '');
    if (DDL.test(bare) && !(dialect === 'mysql' ? HARMLESS_ON_MYSQL : HARMLESS_ON_POSTGRES).test(bare)) {
      throw new TandemError('TANDEM_DDL_REFUSED', `"${firstWords(bare)}" was sent inside a unit of work`);
    }
    if (ENDS_TRANSACTION.test(bare)) {
      throw new TandemError('TANDEM_DDL_REFUSED', `"${firstWords(bare)}" would end the transaction of the unit of work that sent it`, {
        next: 'The unit of work commits when its handler has returned and rolls back when it throws; dataSource.transaction() inside it is a savepoint.',
      });
    }
    act ??= savepointActOf(bare, statements.length === 1);
  }
  return act;
}

const PLAIN = /^(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|VALUES|SET|SHOW|EXPLAIN|DESCRIBE|SAVEPOINT|RELEASE|ROLLBACK)\b/i;

/** Whether what it runs (CALL, EXECUTE) may hold a COMMIT of its own. MySQL only. */
export const mayCommitHalfWay = (text: string): boolean => !PLAIN.test(text.replace(BEFORE_FIRST_WORD_MYSQL, ''));

const firstWords = (statement: string): string => statement.split(/\s+/, 2).join(' ').slice(0, 60);
