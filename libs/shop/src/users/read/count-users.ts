import type { IQueryHandler } from '@nestjs/cqrs';
import { Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { CacheResult, Reads } from 'nest-tandem';
import { Repository } from 'typeorm';
import { UserView } from './user-view.js';

/** All users, the deactivated ones too: as many as `ListUsers` lists. */
export class CountUsers extends Query<number> {}

@QueryHandler(CountUsers)
@Reads(UserView)
@CacheResult()
export class CountUsersHandler implements IQueryHandler<CountUsers> {
  constructor(@InjectRepository(UserView) private readonly views: Repository<UserView>) {}

  execute(): Promise<number> {
    return this.views.count();
  }
}
