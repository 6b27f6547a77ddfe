import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isTandemError } from '../kernel/errors.js';
import { decodeToken, encodeToken, MAX_TOKEN_CHARS, mergeTokens, streamHash, type TokenContents } from './consistency-token.js';

const LOG = '0192f0c1-7d1e-7c3a-9a55-3f1d3c1b2a10';
const refused = expect.toSatisfy((error) => isTandemError(error, 'TANDEM_TOKEN_INVALID'));

const positions = fc.array(fc.tuple(fc.integer({ min: 0, max: 63 }), fc.maxSafeNat())).map((entries) => new Map(entries));
const streams = fc.oneof(
  fc.constant('any' as const),
  fc.uniqueArray(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { maxLength: 64 }).map((hashes) => new Set(hashes)),
);
const contents: fc.Arbitrary<TokenContents> = fc.record({ positions, streams });

describe('consistency token', () => {
  it('decodes to what was encoded, as text for a header', () => {
    fc.assert(
      fc.property(contents, (given) => {
        const token = encodeToken(LOG, given);
        expect(token).toMatch(/^[A-Za-z0-9_-]+$/);
        expect(decodeToken(LOG, token)).toEqual(given);
      }),
    );
  });

  it('stays under 2 KiB however much was written', () => {
    const everything: TokenContents = {
      positions: new Map(Array.from({ length: 64 }, (_, shard) => [shard, Number.MAX_SAFE_INTEGER])),
      streams: new Set(Array.from({ length: 64 }, (_, i) => 2 ** 32 - 1 - i)),
    };
    expect(encodeToken(LOG, everything).length).toBeLessThan(MAX_TOKEN_CHARS);
  });

  it('of more than 64 streams counts every dead letter in its shards', () => {
    const many: TokenContents = { positions: new Map([[3, 9]]), streams: new Set(Array.from({ length: 65 }, (_, i) => i)) };
    expect(decodeToken(LOG, encodeToken(LOG, many)).streams).toBe('any');
  });

  it('is refused by another log', () => {
    fc.assert(
      fc.property(contents, fc.uuid(), (given, other) => {
        expect(() => decodeToken(other, encodeToken(LOG, given))).toThrow(refused);
      }),
    );
  });

  it('is refused with any byte altered, left out or added', () => {
    fc.assert(
      fc.property(contents, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, at, change) => {
        const bytes = Buffer.from(encodeToken(LOG, given), 'base64url');
        const i = at % bytes.length;
        const altered = Buffer.from(bytes);
        altered[i]! ^= change;
        const shorter = Buffer.concat([bytes.subarray(0, i), bytes.subarray(i + 1)]);
        const longer = Buffer.concat([bytes.subarray(0, i), Buffer.from([change]), bytes.subarray(i)]);
        for (const hostile of [altered, shorter, longer]) {
          if (hostile.equals(bytes)) continue;
          expect(() => decodeToken(LOG, hostile.toString('base64url'))).toThrow(refused);
        }
      }),
    );
  });

  it('refuses everything else with the same error and nothing worse', () => {
    const hostile = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.base64String(),
      fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
    );
    fc.assert(
      fc.property(hostile, (text) => {
        expect(() => decodeToken(LOG, text)).toThrow(refused);
      }),
    );
  });

  it.each([
    ['longer than 2 KiB', 'A'.repeat(MAX_TOKEN_CHARS + 1)],
    ['two headers joined', `${encodeToken(LOG, { positions: new Map([[1, 1]]), streams: new Set([1]) })}, ${encodeToken(LOG, { positions: new Map(), streams: new Set() })}`],
    ['padded', `${encodeToken(LOG, { positions: new Map([[1, 1]]), streams: new Set([1]) })}==`],
    ['empty', ''],
    ['no text', 7 as unknown as string],
  ])('refuses one that is %s', (_, text) => {
    expect(() => decodeToken(LOG, text)).toThrow(refused);
  });

  it.each([
    ['a shard beyond the last', [1, 64, 5, 0]],
    ['shards out of order', [2, 5, 1, 4, 1, 0]],
    ['fewer shards than it says', [3, 1, 1]],
    ['a position beyond what numbers hold', [1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]],
    ['a position written in two ways', [1, 1, 0x81, 0x00, 0]],
    ['too many streams', [0, 65]],
    ['bytes after its end', [0, 0, 7]],
  ])('refuses well-signed contents with %s', async (_, body) => {
    const { crc32 } = await import('node:zlib');
    const empty = Buffer.from(encodeToken(LOG, { positions: new Map(), streams: new Set() }), 'base64url');
    const bytes = Buffer.from([...empty.subarray(0, 7), ...body]);
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(bytes));
    expect(() => decodeToken(LOG, Buffer.concat([bytes, sum]).toString('base64url'))).toThrow(refused);
  });

  it('merged demands what both demand', () => {
    fc.assert(
      fc.property(contents, contents, (a, b) => {
        const merged = mergeTokens(a, b);
        for (const part of [a, b]) {
          for (const [shard, seq] of part.positions) expect(merged.positions.get(shard)).toBeGreaterThanOrEqual(seq);
          if (part.streams === 'any') expect(merged.streams).toBe('any');
          else if (merged.streams !== 'any') expect([...part.streams].every((hash) => (merged.streams as Set<number>).has(hash))).toBe(true);
        }
        expect(decodeToken(LOG, encodeToken(LOG, merged))).toEqual(merged);
      }),
    );
  });

  it('names a stream by 32 bits of it', () => {
    expect(streamHash('acme\norder-1')).toBe(streamHash('acme\norder-1'));
    expect(streamHash('acme\norder-1')).not.toBe(streamHash('acme\norder-2'));
  });
});
