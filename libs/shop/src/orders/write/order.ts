import { Column, Entity, PrimaryColumn } from 'typeorm';
import { OrderCancelled } from '../order-events.js';
import type { SalesDocument } from '../sales-document.js';

/** An order as commands see it. */
@Entity('shop_order')
export class Order {
  @PrimaryColumn({ type: 'varchar', length: 64 })
  id!: string;

  @Column({ name: 'customer_id', type: 'varchar', length: 64, nullable: true })
  customerId!: string | null;

  @Column({ type: 'varchar', length: 60 })
  country!: string;

  @Column({ name: 'placed_at', type: Date })
  placedAt!: Date;

  @Column({ type: 'decimal', precision: 19, scale: 4 })
  total!: string;

  @Column({ type: 'varchar', length: 16 })
  status!: 'placed' | 'cancelled';

  @Column({ name: 'content_hash', type: 'varchar', length: 64 })
  contentHash!: string;

  /** Raised by every change: an update of an older version finds no row. */
  @Column({ type: 'int' })
  version!: number;

  static place(document: SalesDocument): Order {
    const order = new Order();
    order.id = document.id;
    order.customerId = document.customerId;
    order.country = document.country;
    order.placedAt = new Date(document.at);
    order.total = document.total;
    order.status = 'placed';
    order.contentHash = document.contentHash;
    order.version = 1;
    return order;
  }

  /** Undefined when it was cancelled before. */
  cancel(): OrderCancelled | undefined {
    if (this.status === 'cancelled') return undefined;
    this.status = 'cancelled';
    return new OrderCancelled(this.id, this.customerId, this.country, this.total);
  }
}
