import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { SalesDocument } from '../sales-document.js';

/** Goods that came back, as commands see it. It stands alone: imported credit notes name no order. */
@Entity('shop_return')
export class Return {
  @PrimaryColumn({ type: 'varchar', length: 64 })
  id!: string;

  @Column({ name: 'customer_id', type: 'varchar', length: 64, nullable: true })
  customerId!: string | null;

  @Column({ type: 'varchar', length: 60 })
  country!: string;

  @Column({ name: 'recorded_at', type: Date })
  recordedAt!: Date;

  @Column({ type: 'decimal', precision: 19, scale: 4 })
  total!: string;

  @Column({ name: 'content_hash', type: 'varchar', length: 64 })
  contentHash!: string;

  static record(document: SalesDocument): Return {
    const { id, customerId, country, total, contentHash } = document;
    return Object.assign(new Return(), { id, customerId, country, recordedAt: new Date(document.at), total, contentHash });
  }
}
