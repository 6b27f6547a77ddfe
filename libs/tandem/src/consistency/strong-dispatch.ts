import { Injectable } from '@nestjs/common';
import type { AsyncContext } from '@nestjs/cqrs';
import { DispatchAround } from '../kernel/dispatch-around.js';
import { TandemError } from '../kernel/errors.js';
import { currentNotes, nextMessage, runWithMessage } from '../kernel/message-context.js';
import { UnitOfWork } from '../kernel/unit-of-work.js';
import { StrongContext } from './consistency.js';
import { ConsistencyGuarantor } from './consistency-guarantor.js';
import { inUnit } from './freshness.js';
import { noteHandled } from './handled-commands.js';

/** Lets a command that was sent with `Consistency.strong()` return only when the projections have passed what it committed. */
@Injectable()
export class StrongDispatch extends DispatchAround {
  constructor(
    private readonly guarantor: ConsistencyGuarantor,
    private readonly units: UnitOfWork,
  ) {
    super();
  }

  override async command<T>(command: object, context: AsyncContext | undefined, work: () => Promise<T>): Promise<T> {
    if (!(context instanceof StrongContext)) return this.handled(work);
    if (this.units.current) throw inUnit(`${command.constructor.name} was sent with Consistency.strong() inside a unit of work`);
    const strong = () => this.strong(command, context, work);
    return currentNotes() ? strong() : runWithMessage(nextMessage(), strong);
  }

  private async handled<T>(work: () => Promise<T>): Promise<T> {
    const result = await work();
    noteHandled();
    return result;
  }

  private async strong<T>(command: object, context: StrongContext, work: () => Promise<T>): Promise<T> {
    context.begin();
    let result: T;
    let token: string;
    try {
      this.guarantor.checkProjections(context.demand.projections); // not after the command has committed
      result = await work();
      noteHandled();
      token = this.guarantor.token();
    } catch (error) {
      context.failed(error);
      throw error;
    }
    context.committed(token);
    try {
      await this.guarantor.waitFor(token, context.demand);
    } catch (error) {
      if (!(error instanceof TandemError)) throw error;
      throw new TandemError(error.code, `${command.constructor.name} has committed, but the read side has not followed`, {
        data: { ...error.data, committed: true, token },
        cause: error,
        next: 'Do not send it again: read with `data.token`, or without one what is there.',
      });
    }
    return result;
  }
}
