import type { ICommandHandler } from '@nestjs/cqrs';
import { Command, CommandHandler, EventBus } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { OptimisticConcurrencyError } from 'nest-tandem';
import { Repository } from 'typeorm';
import { insertOnce } from '../../persistence/insert-once.js';
import { ShopError } from '../../shop-error.js';
import { ReturnRecorded } from '../order-events.js';
import type { GivenDocument } from '../sales-document.js';
import { salesDocument } from '../sales-document.js';
import type { Written } from './place-order.js';
import { ReturnLine } from './return-line.js';
import { Return } from './return.js';

/** Repeated with the same content it is accepted and changes nothing. */
export class RecordReturn extends Command<Written> {
  constructor(readonly document: GivenDocument) {
    super();
  }
}

@CommandHandler(RecordReturn)
export class RecordReturnHandler implements ICommandHandler<RecordReturn> {
  constructor(
    @InjectRepository(Return) private readonly returns: Repository<Return>,
    @InjectRepository(ReturnLine) private readonly lines: Repository<ReturnLine>,
    private readonly events: EventBus,
  ) {}

  /** @throws SHOP_INVALID; SHOP_RETURN_CONFLICT when there is a return of this id with other content */
  async execute(command: RecordReturn): Promise<Written> {
    const document = salesDocument(command.document);
    const { id } = document;
    if (!(await insertOnce(this.returns, Return.record(document)))) {
      await this.mustBeTheSame(id, document.contentHash);
      return { id, created: false };
    }
    await this.lines.insert(ReturnLine.allOf(document));
    this.events.publish(new ReturnRecorded(document));
    return { id, created: true };
  }

  private async mustBeTheSame(id: string, contentHash: string): Promise<void> {
    const present = await this.returns.findOneBy({ id });
    if (!present) throw new OptimisticConcurrencyError(`return-${id}`, { expected: 'none' });
    if (present.contentHash !== contentHash) throw new ShopError('SHOP_RETURN_CONFLICT', `there is a return "${id}" with other content`, { id });
  }
}
