import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What a customer bought and gave back. */
@Entity('shop_customer_spending')
export class CustomerSpending {
  @PrimaryColumn({ name: 'customer_id', type: 'varchar', length: 64 })
  customerId!: string;

  /** Orders ever placed, the cancelled ones too. */
  @Column({ type: 'int', default: 0 })
  orders!: number;

  @Column({ type: 'int', default: 0 })
  cancelled!: number;

  @Column({ type: 'int', default: 0 })
  returns!: number;

  /** Placed − cancelled − returned. */
  @Column({ type: 'decimal', precision: 30, scale: 4, default: 0 })
  spent!: string;
}
