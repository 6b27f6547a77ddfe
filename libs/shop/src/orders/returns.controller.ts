import { Body, Controller, Post } from '@nestjs/common';
import { CommandBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { AcceptsIdempotencyKey } from '../http/accepts-idempotency-key.js';
import { WrittenAnswer } from '../http/answers.js';
import { RecordReturnBody } from './orders.dto.js';
import { RecordReturn } from './write/record-return.js';

@ApiTags('returns')
@Controller('returns')
export class ReturnsController {
  constructor(private readonly commands: CommandBus) {}

  @Post()
  @AcceptsIdempotencyKey()
  @ApiOperation({ summary: 'Records a return. The same return again is accepted and changes nothing' })
  @ApiCreatedResponse({ type: WrittenAnswer })
  async record(@Body() { returnId, recordedAt, customerId, country, lines }: RecordReturnBody): Promise<WrittenAnswer> {
    const { id } = await this.commands.execute(new RecordReturn({ id: returnId, customerId, country, at: recordedAt, lines }));
    return { id };
  }
}
