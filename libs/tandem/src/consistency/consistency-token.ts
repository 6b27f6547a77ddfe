/**
 * A *token* names what was committed: the log, the position in each shard, and a hash of each stream written to, so that a dead
 * letter of one of them counts as "not fresh". Bytes, as base64url: format (1), log (6), number of shards (1), for each shard its
 * number (1) and position (a varint), number of streams (1; 255: any stream of these shards), their hashes (4 each), check sum (4).
 * It is no secret and no permission: whoever forges one only waits, or is refused.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { SHARDS } from '../events/event-log.js';
import { TandemError } from '../kernel/errors.js';

export interface TokenContents {
  /** Shard → highest number. */
  readonly positions: ReadonlyMap<number, number>;
  /** {@link streamHash} of the streams written to, or `any`: every dead letter in these shards counts. */
  readonly streams: ReadonlySet<number> | 'any';
}

const FORMAT = 1;
const LOG_BYTES = 6;
const MAX_STREAMS = 64;
const ANY_STREAM = 255;
/** Longer texts are refused unread. */
export const MAX_TOKEN_CHARS = 2_048;

/** A stream as tokens name it. `stream` is `tenant\nstream`. */
export const streamHash = (stream: string): number => createHash('sha256').update(stream).digest().readUInt32BE(0);

export function encodeToken(logId: string, { positions, streams }: TokenContents): string {
  const bytes = [FORMAT, ...logBytes(logId), positions.size];
  for (const [shard, seq] of [...positions].sort(([a], [b]) => a - b)) {
    bytes.push(shard);
    let rest = seq;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
    bytes.push(rest);
  }
  const any = streams === 'any' || streams.size > MAX_STREAMS;
  bytes.push(any ? ANY_STREAM : streams.size);
  if (!any) for (const hash of [...streams].sort((a, b) => a - b)) bytes.push(...uint32(hash));
  return Buffer.from([...bytes, ...uint32(crc32(Buffer.from(bytes)))]).toString('base64url');
}

/** @throws TANDEM_TOKEN_INVALID for anything that `encodeToken` did not return for this log. */
export function decodeToken(logId: string, text: string): TokenContents {
  if (typeof text !== 'string' || text.length > MAX_TOKEN_CHARS) throw invalid('it is longer than 2 KiB, or no text');
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.toString('base64url') !== text || bytes.length < 4 || crc32(bytes.subarray(0, -4)) !== bytes.readUInt32BE(bytes.length - 4)) throw invalid('it is cut off or altered');
  if (bytes[0] !== FORMAT) throw invalid('it is of another version');
  if (!bytes.subarray(1, 1 + LOG_BYTES).equals(Buffer.from(logBytes(logId)))) throw invalid('it is of another log');
  try {
    return contentsOf(new ByteReader(bytes.subarray(1 + LOG_BYTES, -4)));
  } catch (cause) {
    if (cause instanceof RangeError) throw invalid('its contents make no sense', cause);
    throw cause;
  }
}

/** A token that is met only when both are. */
export function mergeTokens(a: TokenContents, b: TokenContents): TokenContents {
  const positions = new Map(a.positions);
  for (const [shard, seq] of b.positions) positions.set(shard, Math.max(seq, positions.get(shard) ?? 0));
  if (a.streams === 'any' || b.streams === 'any') return { positions, streams: 'any' };
  const streams = new Set([...a.streams, ...b.streams]);
  return { positions, streams: streams.size > MAX_STREAMS ? 'any' : streams };
}

function contentsOf(reader: ByteReader): TokenContents {
  const positions = new Map<number, number>();
  let last = -1;
  for (let left = reader.byte(); left > 0; left--) {
    const shard = reader.byte();
    if (shard <= last || shard >= SHARDS) throw new RangeError('shards are not in order');
    last = shard;
    positions.set(shard, reader.varint());
  }
  const count = reader.byte();
  if (count > MAX_STREAMS && count !== ANY_STREAM) throw new RangeError('too many streams');
  const streams = new Set<number>();
  if (count !== ANY_STREAM) for (let i = 0; i < count; i++) streams.add(reader.uint32());
  if (!reader.atEnd || (count !== ANY_STREAM && streams.size !== count)) throw new RangeError('bytes are left over');
  return { positions, streams: count === ANY_STREAM ? 'any' : streams };
}

class ByteReader {
  private at = 0;

  constructor(private readonly bytes: Buffer) {}

  get atEnd(): boolean {
    return this.at === this.bytes.length;
  }

  byte(): number {
    return this.bytes.readUInt8(this.at++);
  }

  uint32(): number {
    this.at += 4;
    return this.bytes.readUInt32BE(this.at - 4);
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (!Number.isSafeInteger(value) || (byte === 0 && scale > 1)) throw new RangeError('not a position');
      if (byte < 0x80) return value;
    }
  }
}

const logBytes = (logId: string): number[] => [...createHash('sha256').update(logId).digest().subarray(0, LOG_BYTES)];

const uint32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];

const invalid = (why: string, cause?: unknown): TandemError => new TandemError('TANDEM_TOKEN_INVALID', `This consistency token cannot be used: ${why}`, { cause });
