import { ApiProperty } from '@nestjs/swagger';
import type { ShopErrorCode } from '../shop-error.js';
import { ShopError } from '../shop-error.js';

/** What every write answers with; its `Consistency-Token` header makes later reads see it. */
export class WrittenAnswer {
  @ApiProperty({ example: 'ann' })
  id!: string;
}

/** @throws the error of this code when there is nothing */
export function found<T>(value: T | null, code: ShopErrorCode, what: string): T {
  if (value === null) throw new ShopError(code, `there is no ${what}`);
  return value;
}
