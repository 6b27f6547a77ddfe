import { Injectable, type Type } from '@nestjs/common';
import type { Consumer } from '../events/consumer.js';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import { EventLog } from '../events/event-log.js';
import { StorageCheck } from '../kernel/adapter.js';
import { type Unit, UnitOfWork } from '../kernel/unit-of-work.js';
import { FreshRead, type Reading, type ReadRequest } from '../read/query/fresh-read.js';
import type { ReadDemand } from '../read/query/read-demand.js';
import { decodeToken, type TokenContents } from './consistency-token.js';
import { Freshness, inUnit } from './freshness.js';
import { hasPassed } from './read-side.js';

/** Runs query handlers in snapshots; waits first where the query demands it. */
@Injectable()
export class SnapshotFreshRead extends FreshRead {
  constructor(
    private readonly units: UnitOfWork,
    private readonly freshness: Freshness,
    private readonly registry: ConsumerRegistry,
    private readonly log: EventLog,
    private readonly storage: StorageCheck,
  ) {
    super();
  }

  override async run<T>(request: ReadRequest, work: () => Promise<T>): Promise<Reading<T>> {
    const unit = this.units.current;
    if (unit) return this.runWithin(unit, request, work);
    const { demand, keepPositions } = request;
    const target = await this.targetOf(demand);
    const consumers = target || keepPositions ? this.concerned(demand, request.entities) : [];
    const deadlineMs = demand.kind === 'eventual' ? 0 : demand.deadlineMs;
    const onTimeout = demand.kind === 'token' ? demand.onTimeout : 'error';
    return this.freshness.run({ consumers, target, keepPositions, deadlineMs, onTimeout }, work);
  }

  override satisfies(demand: ReadDemand, passed: ReadonlyMap<number, number> | undefined): boolean {
    switch (demand.kind) {
      case 'eventual':
        return true;
      case 'token':
        return passed !== undefined && hasPassed(passed, decodeToken(this.storage.logId, demand.token));
      case 'strong':
        return false;
    }
  }

  /** A unit cannot wait for others. What the call itself demands inside a command is a mistake; what the request demands is met or refused. */
  private async runWithin<T>(unit: Unit, { by, demand, entities }: ReadRequest, work: () => Promise<T>): Promise<Reading<T>> {
    if (demand.kind === 'strong' || (demand.kind === 'token' && by === 'call' && unit.kind !== 'snapshot')) throw inUnit('A query demanded consistency inside a unit of work');
    if (demand.kind === 'token') {
      const target = decodeToken(this.storage.logId, demand.token);
      await this.freshness.requireWithin(unit, { consumers: this.concerned(demand, entities), target, keepPositions: false });
    }
    return { value: await this.units.run(work, { kind: 'snapshot' }), passed: undefined };
  }

  private async targetOf(demand: ReadDemand): Promise<TokenContents | undefined> {
    switch (demand.kind) {
      case 'eventual':
        return undefined;
      case 'token':
        return decodeToken(this.storage.logId, demand.token);
      case 'strong':
        return { positions: (await this.log.heads()).heads, streams: 'any' };
    }
  }

  private concerned(demand: ReadDemand, entities: readonly Type[] | undefined): readonly Consumer[] {
    if (demand.kind === 'strong' && demand.projections) return demand.projections.map((name) => this.registry.named(name));
    return this.registry.readingInto(entities);
  }
}
