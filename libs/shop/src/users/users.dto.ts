import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsInt, IsOptional, IsString, Max, MaxLength, Min, ValidateIf } from 'class-validator';
import { Follows } from '../http/field-rules.js';
import { EMAIL_LENGTH, parseEmail } from '../values/email.js';
import { parseUserId } from '../values/identifier.js';
import { NAME_LENGTH, parseName } from '../values/text.js';
import { DEFAULT_PAGE, LARGEST_PAGE } from './read/list-users.js';
import { parseSearch } from './read/search-text.js';
import { UserDetails } from './read/user-details.js';

export class CreateUserBody {
  @ApiPropertyOptional({ example: 'ann', description: 'Made when left out.' })
  @IsOptional()
  @Follows('isUserId', parseUserId)
  id?: string;

  @ApiProperty({ example: 'Ann Archer', minLength: 1, maxLength: NAME_LENGTH })
  @Follows('isName', parseName)
  name!: string;

  @ApiProperty({ example: 'ann@example.com', maxLength: EMAIL_LENGTH, description: 'Unique, without regard to case.' })
  @Follows('isAddress', parseEmail)
  email!: string;
}

/** At least one of the two. */
export class UpdateUserBody {
  @ApiPropertyOptional({ example: 'Ann Baker', minLength: 1, maxLength: NAME_LENGTH })
  @ValidateIf((body: UpdateUserBody) => body.name !== undefined || body.email === undefined)
  @Follows('isName', parseName)
  name?: string;

  @ApiPropertyOptional({ example: 'ann.baker@example.com', maxLength: EMAIL_LENGTH })
  @ValidateIf((body: UpdateUserBody) => body.email !== undefined)
  @Follows('isAddress', parseEmail)
  email?: string;
}

/** Plain digits only: `Number` reads `0x10`, `1e1` and an empty text as numbers too. */
const wholeNumber = (value: unknown): unknown => (typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value);

export class ListUsersParams {
  @ApiPropertyOptional({ example: 'ann', description: 'Part of a name or an e-mail address, in any case of letters.' })
  @IsOptional()
  @Follows('isSearch', parseSearch)
  search?: string;

  @ApiPropertyOptional({ minimum: 1, maximum: LARGEST_PAGE, default: DEFAULT_PAGE })
  @IsOptional()
  @Transform(({ value }: { value: unknown }) => wholeNumber(value))
  @IsInt()
  @Min(1)
  @Max(LARGEST_PAGE)
  limit?: number;

  @ApiPropertyOptional({ description: '`nextCursor` of the page before.' })
  @IsOptional()
  @IsString()
  @MaxLength(300)
  cursor?: string;
}

export class UserPageAnswer {
  @ApiProperty({ type: [UserDetails] })
  items!: UserDetails[];

  @ApiProperty({ type: String, nullable: true, description: 'Null on the last page.' })
  nextCursor!: string | null;
}

export class UserCountAnswer {
  @ApiProperty({ example: 42, description: 'All users, the deactivated ones too.' })
  count!: number;
}
