import { TandemError } from '../kernel/errors.js';
import { DemandingContext, type ReadDemand } from '../read/query/read-demand.js';
import { ConsistencyLevel } from './consistency-level.js';
import { RetryPolicy } from './retry-policy.js';

export interface StrongOptions {
  /** Names of the projections to wait for. Default: of a query those of its `@Reads`, of a command all. */
  readonly projections?: readonly string[];
  /** Default 5,000. */
  readonly deadlineMs?: number;
}

export interface ReadYourWritesOptions {
  /** Default 5,000. */
  readonly deadlineMs?: number;
  /** When the deadline is over: fail, or answer from what is there. Default `error`. */
  readonly onTimeout?: 'error' | 'stale';
}

/** The second argument of `commandBus.execute` or `queryBus.execute` that says how much must be seen. */
abstract class ConsistencyContext extends DemandingContext {
  abstract readonly level: ConsistencyLevel;
}

class EventualContext extends ConsistencyContext {
  readonly level = ConsistencyLevel.Eventual;
  readonly demand: ReadDemand = { kind: 'eventual' };
}

class ReadYourWritesContext extends ConsistencyContext {
  readonly level = ConsistencyLevel.ReadYourWrites;
  readonly demand: ReadDemand;

  constructor(token: string, { deadlineMs, onTimeout = 'error' }: ReadYourWritesOptions) {
    super();
    this.demand = { kind: 'token', token, deadlineMs: new RetryPolicy({ deadlineMs }).deadlineMs, onTimeout };
  }
}

/** See {@link Consistency.strong}. */
export class StrongContext extends ConsistencyContext {
  readonly level = ConsistencyLevel.Strong;
  readonly demand: ReadDemand & { readonly kind: 'strong' };
  private settled = true;
  private outcome!: PromiseWithResolvers;

  constructor({ projections, deadlineMs }: StrongOptions) {
    super();
    if (projections?.length === 0) throw noProjections();
    this.demand = { kind: 'strong', projections, deadlineMs: new RetryPolicy({ deadlineMs }).deadlineMs };
    this.begin();
  }

  /** What the command has committed: resolves when it has, before the wait; rejects with the command's error. */
  get token(): Promise<string> {
    return this.outcome.promise;
  }

  /** For the dispatch: another command begins, and `token` is that command's from now on. */
  begin(): void {
    if (!this.settled) return;
    this.settled = false;
    this.outcome = withResolvers();
    // Nobody has to ask for the token; the command's error reaches the caller of `execute`.
    this.outcome.promise.catch(() => undefined);
  }

  committed(token: string): void {
    this.settled = true;
    this.outcome.resolve(token);
  }

  failed(error: unknown): void {
    this.settled = true;
    this.outcome.reject(error);
  }
}

/**
 * How much a message must see, as the second argument of `commandBus.execute` and `queryBus.execute`.
 *
 * @example
 * const strong = Consistency.strong({ projections: ['orders.order-view'], deadlineMs: 2_000 });
 * await commandBus.execute(new PlaceOrder('17'), strong);
 * await queryBus.execute(new GetOrder('17'), Consistency.readYourWrites(await strong.token));
 */
export const Consistency = {
  /**
   * A command returns when the projections have passed what it committed; a query sees everything committed when it began. Refused
   * inside a unit of work. @throws TANDEM_WIRING for an empty list of projections, or a deadline that is not a number from 0; when
   * it is sent, and before anything is done, for a projection that does not exist.
   */
  strong: (options: StrongOptions = {}): StrongContext => new StrongContext(options),
  /** A query sees at least what the token names. @throws TANDEM_WIRING for a deadline that is not a number from 0. */
  readYourWrites: (token: string, options: ReadYourWritesOptions = {}): DemandingContext => new ReadYourWritesContext(token, options),
  /** A query answers from what is there, also in a request that brought a token. */
  eventual: (): DemandingContext => new EventualContext(),
} as const;

export const noProjections = (): TandemError =>
  new TandemError('TANDEM_WIRING', 'A wait for the read side names an empty list of projections', { next: 'Name those to wait for, or leave the list out to wait for all.' });

interface PromiseWithResolvers {
  readonly promise: Promise<string>;
  readonly resolve: (token: string) => void;
  readonly reject: (error: unknown) => void;
}

/** `Promise.withResolvers` needs Node 22. */
function withResolvers(): PromiseWithResolvers {
  let resolve!: (token: string) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<string>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
