/** MariaDB's compound statements: several statements in one round trip, COMMIT among them. A check that fails leaves by SIGNAL, before COMMIT. */
import { TandemError } from '../../kernel/errors.js';
import { driverErrorOf } from './sql-errors.js';

const OUTSIDE = 'outside';

export const signal = (what: string): string => `SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'tandem.${what}';`;

/** Outside of a transaction each of its statements would commit by itself. */
export const block = (statements: string, declarations = ''): string => `BEGIN NOT ATOMIC ${declarations}IF NOT @@in_transaction THEN ${signal(OUTSIDE)} END IF; ${statements} END`;

/** What a block said when it left by SIGNAL. @throws TANDEM_UNIT_OF_WORK_DOOMED when it was sent outside of a transaction. */
export function signalOf(error: unknown): string | undefined {
  const { sqlState, message = '' } = driverErrorOf(error) as { sqlState?: string; message?: string };
  const [, what] = (sqlState === '45000' && /tandem\.(\S+)/.exec(message)) || [];
  if (what === OUTSIDE) throw hadEnded(error);
  return what;
}

export const hadEnded = (cause?: unknown): TandemError => new TandemError('TANDEM_UNIT_OF_WORK_DOOMED', 'The transaction had ended before its append', { cause });
