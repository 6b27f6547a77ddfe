import type { AsyncContext } from '@nestjs/cqrs';

/** Port inside the core, filled by the consistency room: surrounds `commandBus.execute`, outside of the handler's pipeline and of its unit of work. */
export abstract class DispatchAround {
  /** `context` is the second argument of `execute`, which may carry a consistency level. */
  abstract command<T>(command: object, context: AsyncContext | undefined, work: () => Promise<T>): Promise<T>;
}
