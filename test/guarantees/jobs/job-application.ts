/** Jobs that a worker's process has trouble with, and the application that has them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, CommandHandler, EventBus, type ICommandHandler } from '@nestjs/cqrs';
import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DomainEvent, MessageContext, QueuedCommand, type TandemRole, type TandemSettings, UnitOfWorkRunner } from 'nest-tandem';
import { Column, Entity, PrimaryColumn, PrimaryGeneratedColumn, type Repository } from 'typeorm';
import { type Bank, type BankPlace, startBank } from '../../support/bank-application.js';
import { LetterSaga } from '../../support/bank.js';

/** The steps of a sequence as they were taken. */
@Entity('spec_step')
export class StepTaken {
  @PrimaryColumn('varchar', { length: 60 }) sequence!: string;
  @PrimaryColumn('int') position!: number;
  @Column('int') step!: number;
}

/** What has happened outside of any transaction, once per row. */
@Entity('spec_trace')
export class Trace {
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('varchar', { length: 200 }) what!: string;
}

/** A line for each time that a tally was made: no key refuses a second one. */
@Entity('spec_tally')
export class Tally {
  @PrimaryGeneratedColumn() id!: number;
  @Column('int') n!: number;
}

@DomainEvent('spec.tallied', { version: 1, stream: (e) => ['tally', String(e.n)] })
export class Tallied {
  constructor(readonly n: number) {}
}

export type Trouble = 'none' | 'throw' | 'kill';

@QueuedCommand('spec.step', { queue: 'steps', effect: 'sql', attempts: 20, backoffMs: 5, concurrency: 6, sequenceBy: (step) => step.sequence })
export class TakeStep extends Command<void> {
  constructor(
    readonly sequence: string,
    readonly step: number,
    /** Of its first attempt. */
    readonly trouble: Trouble = 'none',
  ) {
    super();
  }
}

/** Two attempts: its own first one may go wrong, and nobody else's is counted for it. */
@QueuedCommand('spec.make-tally', { queue: 'tally', effect: 'sql', attempts: 2, backoffMs: 5, concurrency: 2, batchSize: 10 })
export class MakeTally extends Command<void> {
  constructor(
    readonly n: number,
    /** Of its first attempt. */
    readonly trouble: Trouble = 'none',
  ) {
    super();
  }
}

@QueuedCommand('spec.deadly', { queue: 'deadly', effect: 'external', attempts: 2, backoffMs: 5 })
export class Deadly extends Command<void> {
  constructor(readonly by: 'SIGKILL' | 'exit') {
    super();
  }
}

@QueuedCommand('spec.slow-mail', { queue: 'slow', effect: 'external', attempts: 3, timeoutMs: 60_000 })
export class SlowMail extends Command<void> {
  constructor(readonly takesMs: number) {
    super();
  }
}

@QueuedCommand('spec.patient', { queue: 'slow', effect: 'external', attempts: 2, backoffMs: 5, timeoutMs: 150 })
export class Patient extends Command<void> {}

/** Trouble in the first attempt, which is noted outside of the unit of work, so that a run is known that leaves nothing else. */
@Injectable()
export class Troubles {
  constructor(
    @InjectRepository(Trace) private readonly traces: Repository<Trace>,
    private readonly units: UnitOfWorkRunner,
  ) {}

  async meet(id: string, trouble: Trouble): Promise<void> {
    if (trouble === 'none' || !(await this.isFirst(id))) return;
    if (trouble === 'kill') process.kill(process.pid, 'SIGKILL');
    throw new Error('the first attempt fails');
  }

  private isFirst(id: string): Promise<boolean> {
    return this.units.outside(async () => {
      if (await this.traces.existsBy({ id })) return false;
      await this.traces.insert({ id, what: 'a first attempt' });
      return true;
    });
  }
}

@CommandHandler(TakeStep)
export class TakeStepHandler implements ICommandHandler<TakeStep> {
  constructor(
    @InjectRepository(StepTaken) private readonly steps: Repository<StepTaken>,
    private readonly troubles: Troubles,
  ) {}
  async execute({ sequence, step, trouble }: TakeStep): Promise<void> {
    const position = await this.steps.countBy({ sequence });
    await this.steps.insert({ sequence, position, step });
    await this.troubles.meet(`${sequence}:${step}`, trouble);
  }
}

@CommandHandler(MakeTally)
export class MakeTallyHandler implements ICommandHandler<MakeTally> {
  constructor(
    @InjectRepository(Tally) private readonly tallies: Repository<Tally>,
    private readonly events: EventBus,
    private readonly troubles: Troubles,
  ) {}
  async execute({ n, trouble }: MakeTally): Promise<void> {
    await this.tallies.insert({ n });
    this.events.publish(new Tallied(n));
    await this.troubles.meet(`tally:${n}`, trouble);
  }
}

@CommandHandler(Deadly)
export class DeadlyHandler implements ICommandHandler<Deadly> {
  async execute({ by }: Deadly): Promise<void> {
    if (by === 'exit') process.exit(1);
    process.kill(process.pid, 'SIGKILL');
    await sleep(60_000);
  }
}

@CommandHandler(SlowMail)
export class SlowMailHandler implements ICommandHandler<SlowMail> {
  constructor(
    @InjectRepository(Trace) private readonly traces: Repository<Trace>,
    private readonly context: MessageContext,
  ) {}
  async execute({ takesMs }: SlowMail): Promise<void> {
    await sleep(takesMs);
    await this.traces.insert({ id: crypto.randomUUID(), what: `sent ${this.context.idempotencyKey}` });
  }
}

@CommandHandler(Patient)
export class PatientHandler implements ICommandHandler<Patient> {
  constructor(
    @InjectRepository(Trace) private readonly traces: Repository<Trace>,
    private readonly context: MessageContext,
  ) {}
  async execute(): Promise<void> {
    const { idempotencyKey, signal } = this.context;
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await this.traces.insert({ id: crypto.randomUUID(), what: `gave up ${idempotencyKey}` });
  }
}

/** What of a place another process can be told. */
export type JobPlace = Pick<BankPlace, 'name' | 'database' | 'queuePrefix' | 'redisUrl'>;

export function startJobs(place: JobPlace, role: TandemRole, settings: TandemSettings = { jobLeaseMs: 1_000, reconcileEveryMs: 100 }): Promise<Bank> {
  return startBank(
    { ...place, remove: () => Promise.resolve() },
    {
      role,
      without: [LetterSaga],
      providers: [Troubles, TakeStepHandler, MakeTallyHandler, DeadlyHandler, SlowMailHandler, PatientHandler],
      entities: [StepTaken, Tally, Trace],
      ...settings,
    },
  );
}
