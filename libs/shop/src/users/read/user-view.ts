import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A user as queries see it. */
@Entity('shop_user_view')
export class UserView {
  @PrimaryColumn({ type: 'varchar', length: 64 })
  id!: string;

  @Column({ type: 'varchar', length: 100 })
  name!: string;

  @Column({ type: 'varchar', length: 254 })
  email!: string;

  @Column({ type: 'varchar', length: 16 })
  status!: 'active' | 'deactivated';

  @Column({ name: 'created_at', type: Date })
  createdAt!: Date;

  /** Name and e-mail in lower case, made here because every database lowers letters in its own way. */
  @Column({ name: 'search_text', type: 'varchar', length: 512 })
  searchText!: string;
}
