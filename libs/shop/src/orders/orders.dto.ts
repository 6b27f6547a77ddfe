import { ApiProperty } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { ArrayMaxSize, ArrayMinSize, IsArray, IsObject, ValidateIf, ValidateNested } from 'class-validator';
import { Follows } from '../http/field-rules.js';
import { parsePrice } from '../money/money.js';
import { parseId, parseSku } from '../values/identifier.js';
import { parseInstant } from '../values/instant.js';
import { COUNTRY_LENGTH, parseCountry } from '../values/text.js';
import { MOST_LINES, MOST_PIECES, parseQuantity } from './sales-document.js';

export class SalesLineBody {
  @ApiProperty({ example: 'TEAPOT-7' })
  @Follows('isSku', parseSku)
  sku!: string;

  @ApiProperty({ example: 2, minimum: 1, maximum: MOST_PIECES, type: 'integer' })
  @Follows('isQuantity', parseQuantity)
  quantity!: number;

  @ApiProperty({
    example: '19.95',
    oneOf: [{ type: 'string' }, { type: 'number' }],
    description: 'Exact decimal text with up to 4 places. A JSON number is taken as it is written, up to 15 digits; never rounded.',
  })
  @Follows('isPrice', parsePrice)
  unitPrice!: string;
}

class SalesBody {
  @ApiProperty({ example: 'ann', nullable: true, type: String, description: 'Null for a sale over the counter.' })
  @ValidateIf((body: SalesBody) => body.customerId !== null)
  @Follows('isId', parseId)
  customerId!: string | null;

  @ApiProperty({ example: 'France', minLength: 1, maxLength: COUNTRY_LENGTH })
  @Follows('isCountry', parseCountry)
  country!: string;

  @ApiProperty({ type: [SalesLineBody], minItems: 1, maxItems: MOST_LINES })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MOST_LINES)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => SalesLineBody)
  lines!: SalesLineBody[];
}

export class PlaceOrderBody extends SalesBody {
  @ApiProperty({ example: 'order-1' })
  @Follows('isId', parseId)
  orderId!: string;

  @ApiProperty({ example: '2026-01-31T09:30:00Z', format: 'date-time' })
  @Follows('isInstant', parseInstant)
  placedAt!: string;
}

export class RecordReturnBody extends SalesBody {
  @ApiProperty({ example: 'return-1' })
  @Follows('isId', parseId)
  returnId!: string;

  @ApiProperty({ example: '2026-02-03T16:00:00Z', format: 'date-time' })
  @Follows('isInstant', parseInstant)
  recordedAt!: string;
}

export class SalesLineAnswer {
  @ApiProperty({ example: 'TEAPOT-7' })
  sku!: string;

  @ApiProperty({ example: 2 })
  quantity!: number;

  @ApiProperty({ example: '19.9500' })
  unitPrice!: string;
}

export class OrderAnswer {
  @ApiProperty({ example: 'order-1' })
  orderId!: string;

  @ApiProperty({ example: 'ann', nullable: true, type: String })
  customerId!: string | null;

  @ApiProperty({ example: 'France' })
  country!: string;

  @ApiProperty({ enum: ['placed', 'cancelled'] })
  status!: 'placed' | 'cancelled';

  @ApiProperty({ example: '2026-01-31T09:30:00.000Z', format: 'date-time' })
  placedAt!: string;

  @ApiProperty({ example: '39.9000' })
  total!: string;

  @ApiProperty({ type: [SalesLineAnswer] })
  lines!: SalesLineAnswer[];
}

export class SpendingAnswer {
  @ApiProperty({ example: 'ann' })
  customerId!: string;

  @ApiProperty({ example: 3, description: 'Orders ever placed, the cancelled ones too.' })
  orders!: number;

  @ApiProperty({ example: 1 })
  cancelled!: number;

  @ApiProperty({ example: 0 })
  returns!: number;

  @ApiProperty({ example: '79.8000', description: 'Placed − cancelled − returned.' })
  spent!: string;
}

export class CountrySalesAnswer {
  @ApiProperty({ example: 'France' })
  country!: string;

  @ApiProperty({ example: 3, description: 'Orders ever placed, the cancelled ones too.' })
  orders!: number;

  @ApiProperty({ example: 0 })
  returns!: number;

  @ApiProperty({ example: '79.8000', description: 'Placed − cancelled − returned.' })
  netSales!: string;
}
