import type { Unit, UnitScope } from '../../kernel/unit-of-work.js';

interface Waiting {
  go(): void;
  refuse(error: unknown): void;
}

/** Where code runs in a unit: in the unit itself, or inside a savepoint. Only the innermost place may send statements; the others wait until it has ended. */
export class Place implements UnitScope {
  isEnded = false;
  private waiting: Waiting[] = [];

  constructor(
    readonly unit: Unit,
    readonly parent?: Place,
  ) {}

  get isWaitedFor(): boolean {
    return this.waiting.length > 0;
  }

  /** Resolves when the place has ended. @throws what `refuse` is given. */
  toEnd(): Promise<void> {
    return this.isEnded ? Promise.resolve() : new Promise((go, refuse) => this.waiting.push({ go, refuse }));
  }

  end(): void {
    this.isEnded = true;
    for (const { go } of this.waiting.splice(0)) go();
  }

  /** Sends away who waits. */
  refuse(error: unknown): void {
    for (const { refuse } of this.waiting.splice(0)) refuse(error);
  }
}
