import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { SalesDocument } from '../sales-document.js';

@Entity('shop_order_line')
export class OrderLine {
  @PrimaryColumn({ name: 'order_id', type: 'varchar', length: 64 })
  orderId!: string;

  /** From 1, as the lines were given. */
  @PrimaryColumn({ name: 'line_no', type: 'int' })
  lineNo!: number;

  @Column({ type: 'varchar', length: 64 })
  sku!: string;

  @Column({ type: 'int' })
  quantity!: number;

  @Column({ name: 'unit_price', type: 'decimal', precision: 19, scale: 4 })
  unitPrice!: string;

  static allOf(order: SalesDocument): OrderLine[] {
    return order.lines.map((line, index) => Object.assign(new OrderLine(), { orderId: order.id, lineNo: index + 1, ...line }));
  }
}
