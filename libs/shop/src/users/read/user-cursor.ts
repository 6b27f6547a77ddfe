import { ShopError } from '../../shop-error.js';
import { ID_PATTERN } from '../../values/identifier.js';

/** Where a page ended. Clients see it as one opaque word. */
export interface UserCursor {
  readonly createdAt: Date;
  readonly id: string;
}

export const encodeCursor = (cursor: UserCursor): string => Buffer.from(JSON.stringify([cursor.createdAt.getTime(), cursor.id])).toString('base64url');

/** @throws SHOP_CURSOR_INVALID */
export function decodeCursor(text: string): UserCursor {
  const fields = parse(text);
  if (Array.isArray(fields) && fields.length === 2) {
    const [time, id] = fields as unknown[];
    const createdAt = new Date(typeof time === 'number' ? time : Number.NaN);
    if (!Number.isNaN(createdAt.getTime()) && typeof id === 'string' && ID_PATTERN.test(id)) return { createdAt, id };
  }
  throw new ShopError('SHOP_CURSOR_INVALID', 'the cursor is not one of this list', { field: 'cursor' });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    // Not JSON: the caller refuses it like any other wrong cursor.
    return undefined;
  }
}
