/** Orders say at which version they expect their stream; a saga makes two jobs of each, and a few are poisoned. */
import { Command, CommandHandler, EventBus, type ICommandHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { DurableSaga, type EventMetadata, ExpectedVersion, On, Projection } from 'nest-tandem';
import { Column, Entity, PrimaryColumn, type Repository } from 'typeorm';
import type { AskedChange, AskedOrder, Poison } from '../asked.js';
import { Confirm, SendMail, Stamp } from './jobs.js';
import { Changed, Confirmed, Order, Placed } from './order-events.js';
import { Tripwires } from './tripwires.js';

export class Place extends Command<void> {
  constructor(readonly asked: AskedOrder) {
    super();
  }
}

export class Change extends Command<void> {
  constructor(readonly asked: AskedChange) {
    super();
  }
}

@CommandHandler(Place)
export class PlaceHandler implements ICommandHandler<Place> {
  constructor(
    @InjectRepository(Order) private readonly orders: Repository<Order>,
    private readonly events: EventBus,
    private readonly tripwires: Tripwires,
  ) {}

  async execute({ asked: { id, order, poison } }: Place): Promise<void> {
    await this.orders.insert({ id: order, version: 1 });
    this.tripwires.reach('command.after-write-update');
    this.events.publish(ExpectedVersion.none(new Placed(order, id, 0, poison)));
    this.tripwires.reach('command.after-publish');
  }
}

@CommandHandler(Change)
export class ChangeHandler implements ICommandHandler<Change> {
  constructor(
    @InjectRepository(Order) private readonly orders: Repository<Order>,
    private readonly events: EventBus,
    private readonly tripwires: Tripwires,
  ) {}

  async execute({ asked: { id, order, poison } }: Change): Promise<void> {
    const before = await this.orders.findOneByOrFail({ id: order });
    // Without a lock: that another command was faster is for the expected version to find.
    await this.orders.query('UPDATE fault_order SET version = version + 1, changes = changes + 1 WHERE id = ?', [order]);
    this.tripwires.reach('command.after-write-update');
    this.events.publish(ExpectedVersion.exactly(new Changed(order, id, 0, poison), before.version));
  }
}

@DurableSaga('fault.orders', { startFrom: 'beginning' })
export class OrderSaga {
  constructor(private readonly tripwires: Tripwires) {}

  @On(Placed)
  placed({ order, poison }: Placed) {
    this.tripwires.reach('saga.in-method');
    return [new Confirm(order, poison), new Stamp(order, poison), new SendMail(order, poison)];
  }
}

@Entity('fault_order_view')
export class OrderView {
  @PrimaryColumn('varchar', { length: 20 }) id!: string;
  @Column('int', { default: 0 }) version!: number;
  @Column('int', { default: 0 }) changes!: number;
  @Column('int', { default: 0 }) confirmations!: number;
}

/** Cannot digest a poisoned event: the stream is held there, and all others go on. */
@Projection('fault.order-view', { entity: OrderView, version: 1 })
export class OrderViewProjection {
  @On(Placed)
  placed(view: OrderView, { order, poison }: Placed, { version }: EventMetadata) {
    refusePoison(order, poison);
    view.version = version;
  }

  @On(Changed, { whenMissing: 'fail' })
  changed(view: OrderView, { order, poison }: Changed, { version }: EventMetadata) {
    refusePoison(order, poison);
    view.version = version;
    view.changes += 1;
  }

  @On(Confirmed, { whenMissing: 'fail' })
  confirmed(view: OrderView, _event: Confirmed, { version }: EventMetadata) {
    view.version = version;
    view.confirmations += 1;
  }
}

function refusePoison(order: string, poison: Poison): void {
  if (poison === 'event') throw new Error(`${order} is poisoned`);
}
