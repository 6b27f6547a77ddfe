import type { PGlite } from '@electric-sql/pglite';

/** Messages of the extended protocol that come before the Sync which ends their batch: Parse, Bind, Describe, Execute, Close, Flush. */
const WITHIN_BATCH = new Set(Array.from('PBDECH', (letter) => letter.charCodeAt(0)));
const SYNC = Uint8Array.of('S'.charCodeAt(0), 0, 0, 0, 4);

/**
 * The database as pglite-socket should see it. All connections share one session, and pglite-socket (0.2.17) lets another
 * connection in between the messages of a statement with parameters unless a transaction is open: that one's Parse then
 * replaces the unnamed statement, and the first connection binds and runs the wrong SQL. Here a batch that has begun counts as
 * an open transaction until its Sync, so its connection stays the only one served.
 */
export function wholeBatches(db: PGlite): PGlite {
  let withinBatch = false;
  const guarded = {
    isInTransaction: () => withinBatch || db.isInTransaction(),
    execProtocolRawStream: (message: Uint8Array, options: Parameters<PGlite['execProtocolRawStream']>[1]) => {
      withinBatch = WITHIN_BATCH.has(message[0]!);
      return db.execProtocolRawStream(message, options);
    },
    /** Called with ROLLBACK when a connection was lost; a batch that it left open would swallow that. */
    exec: async (sql: string) => {
      if (withinBatch) await db.execProtocolRaw(SYNC);
      withinBatch = false;
      return db.exec(sql);
    },
  };
  return new Proxy(db, {
    get(target, name) {
      if (name in guarded) return guarded[name as keyof typeof guarded];
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
