import { Injectable } from '@nestjs/common';
import type { Consumer } from '../events/consumer.js';
import { ConsumerRegistry } from '../events/consumer-registry.js';
import { EventLog } from '../events/event-log.js';
import { writtenSoFar } from '../events/written.js';
import { StorageCheck } from '../kernel/adapter.js';
import { UnitOfWork } from '../kernel/unit-of-work.js';
import { defaultDemand } from '../read/query/read-demand.js';
import { noProjections } from './consistency.js';
import { decodeToken, encodeToken, mergeTokens, streamHash, type TokenContents } from './consistency-token.js';
import { Freshness, inUnit } from './freshness.js';
import { hasHandled } from './handled-commands.js';
import { RetryPolicy } from './retry-policy.js';

export interface WaitOptions {
  /** Names of the projections (or sagas) to wait for. Default: all projections. */
  readonly projections?: readonly string[];
  /** Default 5,000. */
  readonly deadlineMs?: number;
}

/** Waits for the read side, and makes the tokens that say for what. */
@Injectable()
export class ConsistencyGuarantor {
  constructor(
    private readonly freshness: Freshness,
    private readonly units: UnitOfWork,
    private readonly registry: ConsumerRegistry,
    private readonly storage: StorageCheck,
    private readonly log: EventLog,
  ) {}

  /**
   * Resolves when the projections have passed what the token names.
   * @throws TANDEM_TOKEN_INVALID; TANDEM_CONSISTENCY_IN_UNIT inside a unit of work; TANDEM_CONSISTENCY_TIMEOUT;
   * TANDEM_CONSISTENCY_HELD; TANDEM_WIRING for a projection that does not exist, and for an empty list.
   */
  async waitFor(token: string, { projections, deadlineMs }: WaitOptions = {}): Promise<void> {
    if (this.units.current) throw inUnit('A wait for the read side began inside a unit of work');
    const target = decodeToken(this.storage.logId, token);
    const consumers = this.consumersOf(projections);
    await this.freshness.run({ consumers, target, keepPositions: false, deadlineMs: new RetryPolicy({ deadlineMs }).deadlineMs, onTimeout: 'error' }, () => Promise.resolve());
  }

  /** For a request whose commands had nothing to change: everything that was committed when they found so. Undefined for a request without a command. */
  async tokenOfNoChange(): Promise<string | undefined> {
    if (!hasHandled()) return undefined;
    const { heads } = await this.log.heads();
    return encodeToken(this.storage.logId, mergeTokens({ positions: new Map(heads), streams: new Set() }, broughtContents(this.storage.logId)));
  }

  /** What the current request has committed, together with the token that it brought; undefined when it has committed nothing. */
  currentToken(): string | undefined {
    return writtenSoFar() && this.token();
  }

  /** As {@link currentToken}, and a token that demands nothing where nothing was committed. */
  token(): string {
    return encodeToken(this.storage.logId, mergeTokens(broughtContents(this.storage.logId), writtenContents()));
  }

  /** @throws TANDEM_WIRING for a projection that does not exist, and for an empty list. */
  checkProjections(projections: readonly string[] | undefined): void {
    this.consumersOf(projections);
  }

  private consumersOf(projections: readonly string[] | undefined): readonly Consumer[] {
    if (projections?.length === 0) throw noProjections();
    return projections ? projections.map((name) => this.registry.named(name)) : this.registry.readingInto(undefined);
  }

  /** @throws TANDEM_TOKEN_INVALID for a token that is not of this log. */
  check(token: string): void {
    decodeToken(this.storage.logId, token);
  }
}

function broughtContents(logId: string): TokenContents {
  const brought = defaultDemand();
  return brought?.kind === 'token' ? decodeToken(logId, brought.token) : { positions: new Map(), streams: new Set() };
}

function writtenContents(): TokenContents {
  const written = writtenSoFar();
  return { positions: written?.positions ?? new Map(), streams: new Set([...(written?.streams ?? [])].map(streamHash)) };
}
