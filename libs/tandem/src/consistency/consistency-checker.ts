import { Injectable } from '@nestjs/common';
import type { Consumer } from '../events/consumer.js';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import { ConsumerRuntime } from '../events/consumer-runtime.js';
import { DeadLetterStore } from '../events/dead-letter-store.js';
import { Clock } from '../kernel/clock.js';
import { TandemError } from '../kernel/errors.js';
import { UnitOfWork } from '../kernel/unit-of-work.js';
import { CacheInvalidation } from '../read/query-cache/cache-invalidation.js';
import type { ConsistencyReport, RuleResult } from './consistency-report.js';
import type { ConsistencyRule } from './consistency-rule.js';
import { inUnit } from './freshness.js';
import { PositionSnapshot } from './position-snapshot.js';

/** Compares the write side with the read side, rule by rule, each at one position of the log: traffic raises no false alarm. */
@Injectable()
export class ConsistencyChecker {
  private readonly rules = new Map<string, ConsistencyRule>();

  constructor(
    private readonly snapshot: PositionSnapshot,
    private readonly registry: ConsumerRegistry,
    private readonly runtime: ConsumerRuntime,
    private readonly letters: DeadLetterStore,
    private readonly invalidation: CacheInvalidation,
    private readonly units: UnitOfWork,
    private readonly clock: Clock,
  ) {}

  /** @throws TANDEM_WIRING for two rules of one name. */
  add(rules: readonly ConsistencyRule[]): void {
    for (const rule of rules) {
      const other = this.rules.get(rule.name);
      if (other && other !== rule) throw new TandemError('TANDEM_WIRING', `${other.constructor.name} and ${rule.constructor.name} are both the consistency rule "${rule.name}"`);
      this.rules.set(rule.name, rule);
    }
  }

  /** Names of the rules. */
  get names(): readonly string[] {
    return [...this.rules.keys()];
  }

  /**
   * Compares these rules (default: all), one after the other. A rule that cannot be compared is reported with its problem.
   * @throws TANDEM_WIRING for a rule that does not exist; TANDEM_CONSISTENCY_IN_UNIT inside a unit of work.
   */
  async check(names: readonly string[] = this.names): Promise<ConsistencyReport> {
    if (this.units.current) throw inUnit('A consistency check began inside a unit of work');
    const rules = names.map((name) => this.named(name));
    const checkedAt = new Date(this.clock.now()).toISOString();
    const results: RuleResult[] = [];
    for (const rule of rules) results.push(await this.compare(rule));
    return { checkedAt, consistent: results.every(({ consistent }) => consistent), rules: results };
  }

  private async compare(rule: ConsistencyRule): Promise<RuleResult> {
    const consumers = rule.projections ? rule.projections.map((name) => this.registry.named(name)) : this.registry.readingInto(rule.entities);
    const { name } = rule;
    try {
      const { heads, read, write } = await this.snapshot.read(consumers, (unit, consumer, upTo) => this.runtime.drainTo(unit, consumer, upTo), {
        write: (manager) => rule.write(manager),
        read: (manager) => rule.read(manager),
      });
      const events = [...heads.values()].reduce((sum, head) => sum + head, 0);
      const difference = typeof write === 'number' && typeof read === 'number' ? write - read : undefined;
      return {
        name,
        consistent: write === read,
        write,
        read,
        difference,
        heldStreams: await this.heldBy(consumers),
        position: { events, shards: [...heads.values()].filter((head) => head > 0).length },
      };
    } catch (error) {
      return { name, consistent: false, problem: error instanceof Error ? error.message : String(error), heldStreams: await this.heldBy(consumers) };
    } finally {
      // The comparison may have brought them forward.
      for (const consumer of consumers) this.invalidation.changed(consumer);
    }
  }

  private async heldBy(consumers: readonly Consumer[]): Promise<number> {
    let streams = 0;
    for (const { name } of consumers) streams += (await this.letters.list({ consumer: name })).length;
    return streams;
  }

  private named(name: string): ConsistencyRule {
    const rule = this.rules.get(name);
    if (!rule) throw new TandemError('TANDEM_WIRING', `There is no consistency rule "${name}"; there are ${this.names.join(', ') || 'none'}`);
    return rule;
  }
}
