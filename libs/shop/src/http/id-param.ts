import { ApiProperty } from '@nestjs/swagger';
import { parseId } from '../values/identifier.js';
import { Follows } from './field-rules.js';

/** The id in a path. */
export class IdParam {
  @ApiProperty({ example: 'ann', pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' })
  @Follows('isId', parseId)
  id!: string;
}
