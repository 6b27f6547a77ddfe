/** What the jobs do: in SQL once, outside at least once and always with the same key. */
import { Injectable } from '@nestjs/common';
import { Command, CommandHandler, EventBus, type ICommandHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { MessageContext, QueuedCommand } from 'nest-tandem';
import { Column, Entity, PrimaryColumn, PrimaryGeneratedColumn, type Repository } from 'typeorm';
import type { Poison } from '../asked.js';
import { Confirmed, Order, Stamped } from './order-events.js';
import { Site } from './site.js';
import { Tripwires } from './tripwires.js';

/** Enough that no job which is only unlucky is parked. */
const ATTEMPTS = 10;
const PATIENT = { attempts: ATTEMPTS, backoffMs: 20 } as const;

@Entity('fault_effect')
export class Effect {
  /** The job's kind, and what it was for. */
  @PrimaryColumn('varchar', { length: 60 }) id!: string;
  @Column('int') times!: number;
}

/** One line for each of these jobs. */
@Entity('fault_turn')
export class Turn {
  @PrimaryGeneratedColumn({ type: 'bigint' }) n!: string;
  @Column('varchar', { length: 20 }) account!: string;
  @Column('varchar', { length: 20 }) move!: string;
}

@QueuedCommand('fault.confirm', { queue: 'confirm', effect: 'sql', ...PATIENT })
export class Confirm extends Command<void> {
  constructor(
    readonly order: string,
    readonly poison: Poison,
  ) {
    super();
  }
}

/** Those of events that a saga has read together run together. */
@QueuedCommand('fault.stamp', { queue: 'stamps', effect: 'sql', batchSize: 10, ...PATIENT })
export class Stamp extends Command<void> {
  constructor(
    readonly order: string,
    readonly poison: Poison,
  ) {
    super();
  }
}

@QueuedCommand('fault.mail', { queue: 'mail', effect: 'external', ...PATIENT })
export class SendMail extends Command<void> {
  constructor(
    readonly order: string,
    readonly poison: Poison,
  ) {
    super();
  }
}

/** Of one account they run in the order of their moves. */
@QueuedCommand('fault.count-move', { queue: 'moves', effect: 'sql', sequenceBy: ({ account }) => `move-${account}`, ...PATIENT })
export class CountMove extends Command<void> {
  constructor(
    readonly move: string,
    readonly account: string,
  ) {
    super();
  }
}

/** Counts, so that a second effect is seen as such. */
@Injectable()
export class Effects {
  constructor(@InjectRepository(Effect) private readonly rows: Repository<Effect>) {}

  async add(id: string): Promise<void> {
    await this.rows.query('INSERT INTO fault_effect (id, times) VALUES (?, 1) ON DUPLICATE KEY UPDATE times = times + 1', [id]);
  }
}

function refusePoison(poison: Poison): void {
  if (poison === 'job') throw new Error('this job is poisoned');
}

@CommandHandler(Confirm)
export class ConfirmHandler implements ICommandHandler<Confirm> {
  constructor(
    @InjectRepository(Order) private readonly orders: Repository<Order>,
    private readonly effects: Effects,
    private readonly events: EventBus,
    private readonly context: MessageContext,
    private readonly tripwires: Tripwires,
  ) {}

  async execute({ order, poison }: Confirm): Promise<void> {
    await this.orders.query('UPDATE fault_order SET version = version + 1, confirmations = confirmations + 1 WHERE id = ?', [order]);
    await this.effects.add(`confirm:${order}`);
    refusePoison(poison);
    this.events.publish(new Confirmed(order, this.context.idempotencyKey!));
    this.tripwires.reach('job.after-handler');
  }
}

@CommandHandler(Stamp)
export class StampHandler implements ICommandHandler<Stamp> {
  constructor(
    private readonly effects: Effects,
    private readonly events: EventBus,
    private readonly context: MessageContext,
    private readonly tripwires: Tripwires,
  ) {}

  async execute({ order, poison }: Stamp): Promise<void> {
    await this.effects.add(`stamp:${order}`);
    refusePoison(poison);
    this.events.publish(new Stamped(order, this.context.idempotencyKey!));
    this.tripwires.reach('job.within-batch');
  }
}

@CommandHandler(CountMove)
export class CountMoveHandler implements ICommandHandler<CountMove> {
  constructor(
    @InjectRepository(Turn) private readonly turns: Repository<Turn>,
    private readonly effects: Effects,
    private readonly tripwires: Tripwires,
  ) {}

  async execute({ account, move }: CountMove): Promise<void> {
    await this.turns.insert({ account, move });
    await this.effects.add(`move:${move}`);
    this.tripwires.reach('job.after-handler');
  }
}

@CommandHandler(SendMail)
export class SendMailHandler implements ICommandHandler<SendMail> {
  constructor(
    private readonly context: MessageContext,
    private readonly site: Site,
    private readonly tripwires: Tripwires,
  ) {}

  async execute({ order, poison }: SendMail): Promise<void> {
    refusePoison(poison);
    this.tripwires.reach('job.before-effect');
    const sent = await fetch(this.site.mailUrl, { method: 'POST', body: JSON.stringify({ order, key: this.context.idempotencyKey }), signal: this.context.signal });
    if (!sent.ok) throw new Error(`the mail server said ${sent.status}`);
    this.tripwires.reach('job.after-effect');
  }
}
