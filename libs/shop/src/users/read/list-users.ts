import type { IQueryHandler } from '@nestjs/cqrs';
import { Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { Reads } from 'nest-tandem';
import { Repository } from 'typeorm';
import { InvalidValueError } from '../../shop-error.js';
import { parseSearch, searchPattern } from './search-text.js';
import { decodeCursor, encodeCursor } from './user-cursor.js';
import type { UserDetails } from './user-details.js';
import { userDetails } from './user-details.js';
import { UserView } from './user-view.js';

export const DEFAULT_PAGE = 20;
export const LARGEST_PAGE = 100;

export interface UserPage {
  readonly items: UserDetails[];
  /** Asks for the page after this one; null on the last. */
  readonly nextCursor: string | null;
}

export interface UserListOptions {
  /** Part of a name or an e-mail address, in any case of letters. */
  readonly search?: string;
  /** 1 to 100, default 20. */
  readonly limit?: number;
  readonly cursor?: string;
}

/** Users in the order of their creation, page by page. @throws SHOP_CURSOR_INVALID; SHOP_INVALID for a limit out of range or a search with control characters */
export class ListUsers extends Query<UserPage> {
  constructor(readonly options: UserListOptions = {}) {
    super();
  }
}

@QueryHandler(ListUsers)
@Reads(UserView)
export class ListUsersHandler implements IQueryHandler<ListUsers> {
  constructor(@InjectRepository(UserView) private readonly views: Repository<UserView>) {}

  async execute({ options }: ListUsers): Promise<UserPage> {
    const limit = options.limit ?? DEFAULT_PAGE;
    if (!Number.isInteger(limit) || limit < 1 || limit > LARGEST_PAGE) throw new InvalidValueError('limit', `must be a whole number from 1 to ${LARGEST_PAGE}`);
    const search = parseSearch(options.search ?? '', 'search').trim();
    const rows = this.views.createQueryBuilder('user').orderBy('user.createdAt', 'ASC').addOrderBy('user.id', 'ASC');
    if (search) rows.andWhere("user.searchText LIKE :pattern ESCAPE '!'", { pattern: searchPattern(search) });
    if (options.cursor) rows.andWhere('(user.createdAt > :createdAt OR (user.createdAt = :createdAt AND user.id > :id))', decodeCursor(options.cursor));
    // One more than asked for tells whether there is a next page.
    const views = await rows.limit(limit + 1).getMany();
    const last = views.length > limit ? views[limit - 1] : undefined;
    return { items: views.slice(0, limit).map(userDetails), nextCursor: last ? encodeCursor(last) : null };
  }
}
