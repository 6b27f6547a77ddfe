import { ShopError } from '../../shop-error.js';
import { ID_PATTERN } from '../../values/identifier.js';

/** Where a page ended. Clients see it as one opaque word. */
export interface UserCursor {
  readonly createdAt: Date;
  readonly id: string;
}

export const encodeCursor = (cursor: UserCursor): string => Buffer.from(JSON.stringify([cursor.createdAt.getTime(), cursor.id])).toString('base64url');

/** What a database takes as a moment: some of them end before JavaScript does. */
const LATEST = Date.UTC(3000, 0);

/** @throws SHOP_CURSOR_INVALID */
export function decodeCursor(text: string): UserCursor {
  const fields = parse(text);
  if (Array.isArray(fields) && fields.length === 2) {
    const [time, id] = fields as unknown[];
    if (isMoment(time) && typeof id === 'string' && ID_PATTERN.test(id)) return { createdAt: new Date(time), id };
  }
  throw new ShopError('SHOP_CURSOR_INVALID', 'the cursor is not one of this list', { field: 'cursor' });
}

const isMoment = (time: unknown): time is number => Number.isInteger(time) && Number(time) >= 0 && Number(time) < LATEST;

function parse(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    // Not JSON: the caller refuses it like any other wrong cursor.
    return undefined;
  }
}
