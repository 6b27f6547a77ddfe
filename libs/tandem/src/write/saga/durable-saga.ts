import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import type { Command } from '@nestjs/cqrs';
import type { Observable } from 'rxjs';
import { TandemError } from '../../kernel/errors.js';
import { knownOptions } from '../../kernel/known-options.js';
import type { ExternalJob } from '../../jobs/external-job.js';

export interface DurableSagaOptions {
  /** Where a new saga begins in the log. Default `now`: adding a saga to an old log fires nothing. Events that `HistoryImport` appended fire nothing in any case. */
  readonly startFrom?: 'now' | 'beginning';
  /** The name that it had before: its checkpoints and dead letters go over to the new one, once. Leave it there until no code with the old name runs any more. */
  readonly renamedFrom?: string;
}

export interface DurableSagaDefinition extends DurableSagaOptions {
  readonly name: string;
  readonly startFrom: 'now' | 'beginning';
}

/** What a saga may make of an event: each becomes a job. */
export type SagaOutput = Command<unknown> | ExternalJob;

/** What a method of a saga may return. */
export type SagaOutputs = SagaOutput | readonly SagaOutput[] | Observable<SagaOutput> | null | undefined | void;

/** Public methods of S that return something else. */
type Strangers<S> = { [K in keyof S]: S[K] extends (...args: never[]) => infer R ? ([Awaited<R>] extends [SagaOutputs] ? never : K) : never }[keyof S];
type Saga<S> = [Strangers<S>] extends [never] ? unknown : { readonly 'a saga returns queued commands and external jobs; other methods of it are private': Strangers<S> };

const DURABLE_SAGA = 'tandem:durable-saga';
const OPTIONS: Readonly<Record<keyof DurableSagaOptions, true>> = { startFrom: true, renamedFrom: true };
const NAME = /^[a-z0-9][a-z0-9._-]{0,119}$/;

/**
 * Makes a class a durable saga: its `@On` methods return the queued commands, or jobs for other applications' queues, that an event causes. In one transaction they
 * become job rows and the saga's checkpoint advances, so each job is created exactly once per event. A method returns
 * one, a list or an Observable of them, or nothing, at once or as a promise; a public method that returns anything else does not compile.
 * @throws TANDEM_WIRING for an unknown option, and a name that is not lower-case letters, digits, dots and dashes.
 */
export function DurableSaga(name: string, options: DurableSagaOptions = {}): <S>(target: Type<S> & Saga<S>) => void {
  return (target) => {
    const where = `@DurableSaga('${name}') on ${target.name}`;
    const given = knownOptions(where, options, OPTIONS);
    if (!NAME.test(name)) throw new TandemError('TANDEM_WIRING', `${where}: a name is lower-case letters, digits, dots and dashes`);
    Reflect.defineMetadata(DURABLE_SAGA, Object.freeze({ startFrom: 'now', ...given, name } satisfies DurableSagaDefinition), target);
  };
}

/** The definition of a saga class, or undefined when it has no `@DurableSaga` of its own. */
export const durableSagaOf = (sagaClass: Type): DurableSagaDefinition | undefined => Reflect.getOwnMetadata(DURABLE_SAGA, sagaClass) as DurableSagaDefinition | undefined;
