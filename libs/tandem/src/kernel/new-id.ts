import { randomFillSync } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';

const BYTES_AN_ID = 16;
/** Drawn for many ids at once: one draw for each would cost more than all else about an id. */
const pool = new Uint8Array(BYTES_AN_ID * 256);
let drawn = pool.length;

let lastMs = 0;
let sequence = 0;

/** A UUIDv7: unique, and sorted by time; those that this process makes are sorted by the order in which it makes them. */
export function newId(): string {
  const random = nextRandom();
  const now = Date.now();
  if (now > lastMs) {
    lastMs = now;
    sequence = ((random[0]! & 0x7f) << 24) | (random[1]! << 16) | (random[2]! << 8) | random[3]!;
  } else {
    // As the uuid package does by itself: within a millisecond count up, and go on in the next one when the counter is full.
    sequence = (sequence + 1) | 0;
    if (sequence === 0) lastMs++;
  }
  return uuidv7({ random, msecs: lastMs, seq: sequence });
}

function nextRandom(): Uint8Array {
  if (drawn === pool.length) {
    randomFillSync(pool);
    drawn = 0;
  }
  return pool.subarray(drawn, (drawn += BYTES_AN_ID));
}
