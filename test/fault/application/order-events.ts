import { DomainEvent } from 'nest-tandem';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { Poison } from '../asked.js';

@Entity('fault_order')
export class Order {
  @PrimaryColumn('varchar', { length: 20 }) id!: string;
  /** Of its stream. */
  @Column('int') version!: number;
  @Column('int', { default: 0 }) changes!: number;
  @Column('int', { default: 0 }) confirmations!: number;
}

@DomainEvent('fault.placed', { version: 1, stream: (e) => ['order', e.order] })
export class Placed {
  constructor(
    readonly order: string,
    readonly command: string,
    readonly index: number,
    readonly poison: Poison,
  ) {}
}

@DomainEvent('fault.changed', { version: 1, stream: (e) => ['order', e.order] })
export class Changed {
  constructor(
    readonly order: string,
    readonly command: string,
    readonly index: number,
    readonly poison: Poison,
  ) {}
}

/** By a job, not by a command of the load. */
@DomainEvent('fault.confirmed', { version: 1, stream: (e) => ['order', e.order] })
export class Confirmed {
  constructor(
    readonly order: string,
    readonly job: string,
  ) {}
}

/** Of the job that runs together with its like. */
@DomainEvent('fault.stamped', { version: 1, stream: (e) => ['stamp', e.order] })
export class Stamped {
  constructor(
    readonly order: string,
    readonly job: string,
  ) {}
}
