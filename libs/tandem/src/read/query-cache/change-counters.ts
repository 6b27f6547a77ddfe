/**
 * Counts the changes of each entity. A *stamp* taken before an answer is computed tells later whether any of what it read has
 * changed since: counters only grow, so two equal sums mean that none has.
 */
export class ChangeCounters {
  private readonly changes = new Map<string, number>();
  private everything = 0;

  changed(entities: readonly string[]): void {
    for (const entity of entities) this.changes.set(entity, (this.changes.get(entity) ?? 0) + 1);
  }

  everythingChanged(): void {
    this.everything++;
  }

  stamp(entities: readonly string[]): number {
    return entities.reduce((sum, entity) => sum + (this.changes.get(entity) ?? 0), this.everything);
  }
}
