import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { SalesDocument } from '../sales-document.js';

@Entity('shop_return_line')
export class ReturnLine {
  @PrimaryColumn({ name: 'return_id', type: 'varchar', length: 64 })
  returnId!: string;

  /** From 1, as the lines were given. */
  @PrimaryColumn({ name: 'line_no', type: 'int' })
  lineNo!: number;

  @Column({ type: 'varchar', length: 64 })
  sku!: string;

  @Column({ type: 'int' })
  quantity!: number;

  @Column({ name: 'unit_price', type: 'decimal', precision: 19, scale: 4 })
  unitPrice!: string;

  static allOf(document: SalesDocument): ReturnLine[] {
    return document.lines.map((line, index) => Object.assign(new ReturnLine(), { returnId: document.id, lineNo: index + 1, ...line }));
  }
}
