import { describe, expect, it } from 'vitest';
import { parseSearch, searchable, searchPattern } from './search-text.js';
import { decodeCursor, encodeCursor } from './user-cursor.js';

const word = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('user cursor', () => {
  it('leads back to where the page ended', () => {
    const place = { createdAt: new Date('2026-01-31T09:30:00.123Z'), id: 'ann' };
    expect(decodeCursor(encodeCursor(place))).toEqual(place);
  });

  it.each([
    '',
    'x',
    '%%%',
    word(null),
    word({}),
    word([]),
    word([1]),
    word(['1', 'ann']),
    word([1, 'a b']),
    word([1e20, 'ann']),
    word([8.64e15, 'ann']),
    word([-8.64e15, 'ann']),
    word([-1, 'ann']),
    word([1.5, 'ann']),
    word([1, 'a\u0000']),
    word([1, 'ann', 2]),
  ])('refuses %j', (text) => {
    expect(() => decodeCursor(text)).toThrow(expect.objectContaining({ code: 'SHOP_CURSOR_INVALID' }));
  });
});

describe('search text', () => {
  it.each(['', ' ', 'ann', '50%_off!', 'Élodie 🦊', 'x'.repeat(100)])('takes %j', (search) => {
    expect(parseSearch(search, 'search')).toBe(search);
  });

  it.each(['\u0000', 'a\u0000b', 'a\nb', '\ud800', '\ufffd', 'x'.repeat(101), 7, ['ann'], null])('refuses %j', (search) => {
    expect(() => parseSearch(search, 'search')).toThrow(expect.objectContaining({ code: 'SHOP_INVALID', field: 'search' }));
  });

  it('finds the signs of LIKE as what they are', () => {
    expect(searchPattern(' 50%_Off! ')).toBe('%50!%!_off!!%');
  });

  it('lowers letters of every alphabet and composes accents', () => {
    expect(searchable({ name: 'E\u0301MILE ΩΡΑ', email: 'Emile@Example.com' })).toBe('émile ωρα\nemile@example.com');
  });
});
