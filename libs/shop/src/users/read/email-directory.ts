import { Column, Entity, PrimaryColumn } from 'typeorm';

/** E-mail address (its key, without regard to case) → user id. */
@Entity('shop_email_directory')
export class EmailDirectory {
  @PrimaryColumn({ name: 'email_key', type: 'varchar', length: 254 })
  emailKey!: string;

  @Column({ name: 'user_id', type: 'varchar', length: 64 })
  userId!: string;
}
