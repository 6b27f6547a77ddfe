import { AggregateRoot } from '@nestjs/cqrs';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { ShopError } from '../../shop-error.js';
import { emailKey, parseEmail } from '../../values/email.js';
import { parseUserId } from '../../values/identifier.js';
import { parseName } from '../../values/text.js';
import { UserCreated, UserDeactivated, UserEmailChanged, UserRenamed } from '../user-events.js';

export interface GivenUser {
  readonly id: string;
  readonly name: string;
  readonly email: string;
}

/** A user as commands see it. A deactivated user keeps the e-mail address, so nobody else can take it. */
@Entity('shop_user')
export class User extends AggregateRoot {
  @PrimaryColumn({ type: 'varchar', length: 64 })
  id!: string;

  @Column({ type: 'varchar', length: 100 })
  name!: string;

  @Column({ type: 'varchar', length: 254 })
  email!: string;

  /** The address without regard to case: unique. */
  @Column({ name: 'email_key', type: 'varchar', length: 254 })
  emailKey!: string;

  @Column({ type: 'varchar', length: 16 })
  status!: 'active' | 'deactivated';

  /** Raised by every change: an update of an older version finds no row. */
  @Column({ type: 'int' })
  version!: number;

  /** @throws SHOP_INVALID */
  static create(given: GivenUser): User {
    const user = new User();
    user.id = parseUserId(given.id, 'id');
    user.name = parseName(given.name, 'name');
    user.email = parseEmail(given.email, 'email');
    user.emailKey = emailKey(user.email);
    user.status = 'active';
    user.version = 1;
    user.apply(new UserCreated(user.id, user.name, user.email));
    return user;
  }

  /** @throws SHOP_INVALID; SHOP_USER_DEACTIVATED */
  rename(name: string): void {
    this.mustBeActive();
    const next = parseName(name, 'name');
    if (next === this.name) return;
    this.name = next;
    this.apply(new UserRenamed(this.id, next));
  }

  /** @throws SHOP_INVALID; SHOP_USER_DEACTIVATED */
  changeEmail(email: string): void {
    this.mustBeActive();
    const next = parseEmail(email, 'email');
    if (next === this.email) return;
    const previous = this.email;
    this.email = next;
    this.emailKey = emailKey(next);
    this.apply(new UserEmailChanged(this.id, next, previous));
  }

  /** Once; again it changes nothing. */
  deactivate(): void {
    if (this.status === 'deactivated') return;
    this.status = 'deactivated';
    this.apply(new UserDeactivated(this.id));
  }

  /** True for the user that this creation would have made: a repeated creation is no second one. */
  isAsGiven(given: User): boolean {
    return this.id === given.id && this.name === given.name && this.email === given.email && this.status === 'active';
  }

  private mustBeActive(): void {
    if (this.status === 'deactivated') throw new ShopError('SHOP_USER_DEACTIVATED', `the user "${this.id}" is deactivated`, { id: this.id });
  }
}
