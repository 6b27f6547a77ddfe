import { Column, Entity, PrimaryColumn } from 'typeorm';

/** Sales of a country, over all customers. */
@Entity('shop_country_sales')
export class CountrySales {
  @PrimaryColumn({ type: 'varchar', length: 60 })
  country!: string;

  /** Orders ever placed, the cancelled ones too. */
  @Column({ type: 'int', default: 0 })
  orders!: number;

  @Column({ type: 'int', default: 0 })
  cancelled!: number;

  @Column({ type: 'int', default: 0 })
  returns!: number;

  /** Placed − cancelled − returned. */
  @Column({ name: 'net_sales', type: 'decimal', precision: 30, scale: 4, default: 0 })
  netSales!: string;
}
