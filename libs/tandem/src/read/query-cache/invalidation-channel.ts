import type { Type } from '@nestjs/common';

/** Port, filled by the job adapter: tells every process which read entities changed. */
export abstract class InvalidationChannel {
  /** False while messages may be lost: the cache then answers nothing. */
  abstract get connected(): boolean;
  /** `entities` are names that every process derives alike. */
  abstract publish(entities: readonly string[]): Promise<void>;
  /** `onLost` is called when messages may have been missed: everything goes. */
  abstract subscribe(onChanged: (entities: readonly string[]) => void, onLost: () => void): Promise<void>;
  abstract stop(): Promise<void>;
}

/** The name that an entity goes by between processes. */
export const entityName = (entity: Type): string => entity.name;
