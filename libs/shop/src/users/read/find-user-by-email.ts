import type { IQueryHandler } from '@nestjs/cqrs';
import { Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { Reads } from 'nest-tandem';
import { Repository } from 'typeorm';
import { emailKey } from '../../values/email.js';
import { EmailDirectory } from './email-directory.js';

/** The id of the user with this e-mail address, in any case of letters; right from the moment the command returned. */
export class FindUserByEmail extends Query<string | null> {
  constructor(readonly email: string) {
    super();
  }
}

@QueryHandler(FindUserByEmail)
@Reads(EmailDirectory)
export class FindUserByEmailHandler implements IQueryHandler<FindUserByEmail> {
  constructor(@InjectRepository(EmailDirectory) private readonly directory: Repository<EmailDirectory>) {}

  async execute({ email }: FindUserByEmail): Promise<string | null> {
    const row = await this.directory.findOneBy({ emailKey: emailKey(email.trim()) });
    return row?.userId ?? null;
  }
}
