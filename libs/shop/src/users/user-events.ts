import { DomainEvent } from 'nest-tandem';

@DomainEvent('user.created', { version: 1, stream: (e) => ['user', e.userId] })
export class UserCreated {
  constructor(
    readonly userId: string,
    readonly name: string,
    readonly email: string,
  ) {}
}

@DomainEvent('user.renamed', { version: 1, stream: (e) => ['user', e.userId] })
export class UserRenamed {
  constructor(
    readonly userId: string,
    readonly name: string,
  ) {}
}

@DomainEvent('user.email-changed', { version: 1, stream: (e) => ['user', e.userId] })
export class UserEmailChanged {
  constructor(
    readonly userId: string,
    readonly email: string,
    readonly previousEmail: string,
  ) {}
}

@DomainEvent('user.deactivated', { version: 1, stream: (e) => ['user', e.userId] })
export class UserDeactivated {
  constructor(readonly userId: string) {}
}
