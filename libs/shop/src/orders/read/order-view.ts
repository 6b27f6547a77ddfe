import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { SalesLine } from '../sales-document.js';

/** An order as queries see it. */
@Entity('shop_order_view')
export class OrderView {
  @PrimaryColumn({ type: 'varchar', length: 64 })
  id!: string;

  @Column({ name: 'customer_id', type: 'varchar', length: 64, nullable: true })
  customerId!: string | null;

  @Column({ type: 'varchar', length: 60 })
  country!: string;

  @Column({ type: 'varchar', length: 16 })
  status!: 'placed' | 'cancelled';

  @Column({ name: 'placed_at', type: Date })
  placedAt!: Date;

  @Column({ type: 'decimal', precision: 19, scale: 4 })
  total!: string;

  @Column({ type: 'simple-json' })
  lines!: SalesLine[];
}
