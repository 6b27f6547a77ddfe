import { Body, Controller, Delete, Get, Param, Patch, Post, Query } from '@nestjs/common';
import { CommandBus, QueryBus } from '@nestjs/cqrs';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { v7 as uuidv7 } from 'uuid';
import { AcceptsIdempotencyKey } from '../http/accepts-idempotency-key.js';
import { found, WrittenAnswer } from '../http/answers.js';
import { IdParam } from '../http/id-param.js';
import { CountUsers } from './read/count-users.js';
import { GetUser } from './read/get-user.js';
import { ListUsers } from './read/list-users.js';
import { UserDetails } from './read/user-details.js';
import { CreateUserBody, ListUsersParams, UpdateUserBody, UserCountAnswer, UserPageAnswer } from './users.dto.js';
import { CreateUser } from './write/create-user.js';
import { DeactivateUser } from './write/deactivate-user.js';
import { UpdateUser } from './write/update-user.js';

@ApiTags('users')
@Controller('users')
export class UsersController {
  constructor(
    private readonly commands: CommandBus,
    private readonly queries: QueryBus,
  ) {}

  @Post()
  @AcceptsIdempotencyKey()
  @ApiOperation({ summary: 'Creates a user; a welcome mail follows' })
  @ApiCreatedResponse({ type: WrittenAnswer })
  create(@Body() body: CreateUserBody): Promise<WrittenAnswer> {
    return this.commands.execute(new CreateUser(body.id ?? uuidv7(), body.name, body.email));
  }

  @Get()
  @ApiOperation({ summary: 'Lists users in the order of their creation' })
  @ApiOkResponse({ type: UserPageAnswer })
  list(@Query() params: ListUsersParams): Promise<UserPageAnswer> {
    return this.queries.execute(new ListUsers({ ...params }));
  }

  @Get('count')
  @ApiOperation({ summary: 'Counts users' })
  @ApiOkResponse({ type: UserCountAnswer })
  async count(): Promise<UserCountAnswer> {
    return { count: await this.queries.execute(new CountUsers()) };
  }

  @Get(':id')
  @ApiOperation({ summary: 'Shows a user' })
  @ApiOkResponse({ type: UserDetails })
  async get(@Param() { id }: IdParam): Promise<UserDetails> {
    return found(await this.queries.execute(new GetUser(id)), 'SHOP_USER_NOT_FOUND', `user "${id}"`);
  }

  @Patch(':id')
  @AcceptsIdempotencyKey()
  @ApiOperation({ summary: 'Changes name, e-mail or both, in one unit of work' })
  @ApiOkResponse({ type: WrittenAnswer })
  update(@Param() { id }: IdParam, @Body() body: UpdateUserBody): Promise<WrittenAnswer> {
    return this.commands.execute(new UpdateUser(id, { name: body.name, email: body.email }));
  }

  @Delete(':id')
  @AcceptsIdempotencyKey()
  @ApiOperation({ summary: 'Deactivates a user' })
  @ApiOkResponse({ type: WrittenAnswer })
  deactivate(@Param() { id }: IdParam): Promise<WrittenAnswer> {
    return this.commands.execute(new DeactivateUser(id));
  }
}
