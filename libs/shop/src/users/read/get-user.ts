import type { IQueryHandler } from '@nestjs/cqrs';
import { Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { CacheResult, Reads } from 'nest-tandem';
import { Repository } from 'typeorm';
import type { UserDetails } from './user-details.js';
import { userDetails } from './user-details.js';
import { UserView } from './user-view.js';

export class GetUser extends Query<UserDetails | null> {
  constructor(readonly id: string) {
    super();
  }
}

@QueryHandler(GetUser)
@Reads(UserView)
@CacheResult()
export class GetUserHandler implements IQueryHandler<GetUser> {
  constructor(@InjectRepository(UserView) private readonly views: Repository<UserView>) {}

  async execute({ id }: GetUser): Promise<UserDetails | null> {
    const view = await this.views.findOneBy({ id });
    return view && userDetails(view);
  }
}
