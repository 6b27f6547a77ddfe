const hits = new WeakSet<object>();

/** Remembers that this query was answered without running its handler. */
export function markCacheHit(query: object): void {
  hits.add(query);
}

/** True when this query was answered from the cache. */
export const wasCacheHit = (query: object): boolean => hits.has(query);
