import { AsyncContext } from '@nestjs/cqrs';
import { currentNotes, type RequestNotes } from '../../kernel/message-context.js';

/** What a query asks of the read side: whatever is there, at least what a token names, or everything committed until now. */
export type ReadDemand =
  | { readonly kind: 'eventual' }
  | { readonly kind: 'token'; readonly token: string; readonly deadlineMs: number; readonly onTimeout: 'error' | 'stale' }
  | { readonly kind: 'strong'; readonly projections?: readonly string[]; readonly deadlineMs: number };

/** A demand, and who made it: the call itself, or the request that the query runs in. */
export interface MadeDemand {
  readonly demand: ReadDemand;
  readonly by: 'call' | 'request';
}

/** A second argument of `queryBus.execute` that carries a demand. */
export abstract class DemandingContext extends AsyncContext {
  abstract readonly demand: ReadDemand;
}

const DEFAULT_DEMAND = Symbol('tandem:default-read-demand');
const EVENTUAL: ReadDemand = Object.freeze({ kind: 'eventual' });

/** Makes `demand` the one of every query of this request that says nothing itself. */
export function demandByDefault(notes: RequestNotes, demand: ReadDemand): void {
  notes[DEFAULT_DEMAND] = demand;
}

/** The request's default demand, or undefined when it made none. */
export const defaultDemand = (): ReadDemand | undefined => currentNotes()?.[DEFAULT_DEMAND] as ReadDemand | undefined;

/** The call's own demand, else the request's, else eventual. */
export function demandOf(context: AsyncContext | undefined): MadeDemand {
  if (context instanceof DemandingContext) return { demand: context.demand, by: 'call' };
  return { demand: defaultDemand() ?? EVENTUAL, by: 'request' };
}
