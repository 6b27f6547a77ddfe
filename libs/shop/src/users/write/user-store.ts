import { Injectable } from '@nestjs/common';
import { EventPublisher } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { OptimisticConcurrencyError } from 'nest-tandem';
import { Repository } from 'typeorm';
import { insertOnce, isDuplicate } from '../../persistence/insert-once.js';
import { ShopError } from '../../shop-error.js';
import { User } from './user.js';

/** Loads and saves users inside the command's unit of work; their events go onto the log with them. */
@Injectable()
export class UserStore {
  constructor(
    @InjectRepository(User) private readonly users: Repository<User>,
    private readonly publisher: EventPublisher,
  ) {}

  /** For a change: commands on one user run one after the other, so a caller that named no version meets no conflict. @throws SHOP_USER_NOT_FOUND */
  async load(id: string): Promise<User> {
    const user = await this.users.findOne({ where: { id }, lock: { mode: 'pessimistic_write' } });
    if (!user) throw new ShopError('SHOP_USER_NOT_FOUND', `there is no user "${id}"`, { id });
    return user;
  }

  /** Adds a user; the same creation again is accepted and changes nothing. @throws SHOP_USER_EXISTS; SHOP_EMAIL_TAKEN */
  async add(user: User): Promise<void> {
    const { id, name, email, emailKey, status, version } = user;
    if (await insertOnce(this.users, { id, name, email, emailKey, status, version })) return this.publish(user);
    const present = await this.users.findOneBy({ id });
    if (!present) throw emailTaken();
    if (!present.isAsGiven(user)) throw new ShopError('SHOP_USER_EXISTS', `there is a user "${id}" already`, { id });
  }

  /** @throws OptimisticConcurrencyError when another command changed the user since it was loaded; SHOP_EMAIL_TAKEN */
  async save(user: User): Promise<void> {
    if (user.getUncommittedEvents().length === 0) return;
    const { id, name, email, emailKey, status, version } = user;
    const changed = await this.update(id, version, { name, email, emailKey, status, version: version + 1 });
    if (!changed) throw new OptimisticConcurrencyError(`user-${id}`, { expected: version });
    user.version = version + 1;
    this.publish(user);
  }

  private async update(id: string, version: number, values: Pick<User, 'name' | 'email' | 'emailKey' | 'status' | 'version'>): Promise<boolean> {
    try {
      const result = await this.users.update({ id, version }, values);
      return result.affected === 1;
    } catch (error) {
      // The address is the only unique value that an update touches.
      if (isDuplicate(error)) throw emailTaken();
      throw error;
    }
  }

  private publish(user: User): void {
    this.publisher.mergeObjectContext(user).commit();
  }
}

const emailTaken = (): ShopError => new ShopError('SHOP_EMAIL_TAKEN', 'another user has this e-mail address', { field: 'email' });
