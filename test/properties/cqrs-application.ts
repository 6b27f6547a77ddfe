/** The club of the six-tuple as an application on Tandem: what `cqrs-model.ts` says in a page, with tables, handlers and projections. */
import type { Type } from '@nestjs/common';
import { Command, CommandHandler, EventBus, Query, QueryHandler } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { Column, Entity, PrimaryColumn, Repository } from 'typeorm';
import { type Delta, DomainEvent, On, OnDelta, Projection, Reads, type SyncStrategy } from 'nest-tandem';
import type { Answer, Command as ModelCommand, Query as ModelQuery, Refusal } from './cqrs-model.js';

@Entity('club_member')
export class Member {
  @PrimaryColumn('varchar', { length: 40 }) id!: string;
  @Column('varchar', { length: 40, unique: true }) handle!: string;
  @Column('varchar', { length: 40 }) team!: string;
  @Column('int') points!: number;
}
@Entity('club_member_view')
export class MemberRow {
  @PrimaryColumn('varchar', { length: 40 }) id!: string;
  @Column('varchar', { length: 40 }) handle!: string;
  @Column('varchar', { length: 40 }) team!: string;
  @Column('int', { default: 0 }) points!: number;
  @Column('int', { default: 0 }) changes!: number;
}
@Entity('club_handle_view')
export class HandleRow {
  @PrimaryColumn('varchar', { length: 40 }) handle!: string;
  /** Of a member who is renamed, the old row must go before the new one comes. */
  @Column('varchar', { length: 40, unique: true }) memberId!: string;
}
@Entity('club_team_view')
export class TeamRow {
  @PrimaryColumn('varchar', { length: 40 }) team!: string;
  @Column('int', { default: 0 }) members!: number;
  @Column('decimal', { precision: 19, scale: 4, default: 0 }) points!: string;
}

@DomainEvent('club.joined', { version: 1, stream: (e) => ['member', e.id] })
class Joined {
  constructor(
    readonly id: string,
    readonly handle: string,
    readonly team: string,
  ) {}
}
@DomainEvent('club.renamed', { version: 1, stream: (e) => ['member', e.id] })
class Renamed {
  constructor(
    readonly id: string,
    readonly from: string,
    readonly to: string,
  ) {}
}
@DomainEvent('club.earned', { version: 1, stream: (e) => ['member', e.id] })
class Earned {
  constructor(
    readonly id: string,
    readonly team: string,
    readonly points: number,
  ) {}
}
@DomainEvent('club.moved', { version: 1, stream: (e) => ['member', e.id] })
class Moved {
  constructor(
    readonly id: string,
    readonly from: string,
    readonly to: string,
    readonly points: number,
  ) {}
}
@DomainEvent('club.left', { version: 1, stream: (e) => ['member', e.id] })
class Left {
  constructor(
    readonly id: string,
    readonly handle: string,
    readonly team: string,
    readonly points: number,
  ) {}
}

/** A business error: the command is refused, and nothing has happened. */
export class Refused extends Error {
  constructor(readonly reason: Refusal) {
    super(reason);
  }
}

export class Do extends Command<void> {
  constructor(readonly what: ModelCommand) {
    super();
  }
}
export class AskMember extends Query<Answer> {
  constructor(readonly id: string) {
    super();
  }
}
export class AskHandle extends Query<Answer> {
  constructor(readonly handle: string) {
    super();
  }
}
export class AskTeam extends Query<Answer> {
  constructor(readonly team: string) {
    super();
  }
}

export const messageOf = (query: ModelQuery): Query<Answer> =>
  query.kind === 'member' ? new AskMember(query.id) : query.kind === 'who-has' ? new AskHandle(query.handle) : new AskTeam(query.team);

@CommandHandler(Do)
class DoHandler {
  constructor(
    @InjectRepository(Member) private readonly members: Repository<Member>,
    private readonly events: EventBus,
  ) {}

  async execute({ what }: Do): Promise<void> {
    // The row is locked: two commands on one member come one after the other.
    const member = await this.members.findOne({ where: { id: what.id }, lock: { mode: 'pessimistic_write' } });
    if (what.kind === 'join') return this.join(what, member);
    if (!member) throw new Refused('missing');
    this.events.publish(await this.changed(member, what));
  }

  private async join({ handle, id, team }: ModelCommand & { kind: 'join' }, member: Member | null): Promise<void> {
    if (member) throw new Refused('taken');
    await this.refuseTaken(handle, id);
    this.events.publish(new Joined(id, handle, team));
    await this.members.insert({ id, handle, team, points: 0 });
  }

  private async changed(member: Member, what: Exclude<ModelCommand, { kind: 'join' }>): Promise<object> {
    const { handle, id, points, team } = member;
    switch (what.kind) {
      case 'rename':
        await this.refuseTaken(what.handle, id);
        await this.members.update({ id }, { handle: what.handle });
        return new Renamed(id, handle, what.handle);
      case 'earn':
        await this.members.update({ id }, { points: points + what.points });
        return new Earned(id, team, what.points);
      case 'move':
        await this.members.update({ id }, { team: what.team });
        return new Moved(id, team, what.team, points);
      case 'leave':
        await this.members.delete({ id });
        return new Left(id, handle, team, points);
    }
  }

  /** Two that ask at once both find it free: then the table refuses one. */
  private async refuseTaken(handle: string, id: string): Promise<void> {
    const holder = await this.members.findOneBy({ handle });
    if (holder && holder.id !== id) throw new Refused('taken');
  }
}

@QueryHandler(AskMember)
@Reads(MemberRow)
class AskMemberHandler {
  constructor(@InjectRepository(MemberRow) private readonly rows: Repository<MemberRow>) {}
  async execute({ id }: AskMember): Promise<Answer> {
    const row = await this.rows.findOneBy({ id });
    return row && { handle: row.handle, team: row.team, points: row.points, changes: row.changes };
  }
}
@QueryHandler(AskHandle)
@Reads(HandleRow)
class AskHandleHandler {
  constructor(@InjectRepository(HandleRow) private readonly rows: Repository<HandleRow>) {}
  async execute({ handle }: AskHandle): Promise<Answer> {
    return (await this.rows.findOneBy({ handle }))?.memberId ?? null;
  }
}
@QueryHandler(AskTeam)
@Reads(TeamRow)
class AskTeamHandler {
  constructor(@InjectRepository(TeamRow) private readonly rows: Repository<TeamRow>) {}
  async execute({ team }: AskTeam): Promise<Answer> {
    const row = await this.rows.findOneBy({ team });
    return row && { members: row.members, points: Number(row.points) };
  }
}

function projectionsOf(sync: SyncStrategy): readonly Type[] {
  @Projection('club.members', { entity: MemberRow, version: 1, sync })
  class Members {
    @On(Joined)
    joined(row: MemberRow, { handle, team }: Joined) {
      Object.assign(row, { handle, team });
      row.changes++;
    }
    @On(Renamed, { whenMissing: 'fail' })
    renamed(row: MemberRow, { to }: Renamed) {
      row.handle = to;
      row.changes++;
    }
    @On(Earned, { whenMissing: 'fail' })
    earned(row: MemberRow, { points }: Earned) {
      row.points += points;
      row.changes++;
    }
    @On(Moved, { whenMissing: 'fail' })
    moved(row: MemberRow, { to }: Moved) {
      row.team = to;
      row.changes++;
    }
    @On(Left, { whenMissing: 'fail', delete: true })
    left() {}
  }

  @Projection('club.handles', { entity: HandleRow, version: 1, sync })
  class Handles {
    @On(Joined, { key: (e) => e.handle })
    joined(row: HandleRow, { id }: Joined) {
      row.memberId = id;
    }
    @On(Renamed, { key: (e) => e.from, whenMissing: 'fail', delete: true })
    from() {}
    @On(Renamed, { key: (e) => e.to })
    to(row: HandleRow, { id }: Renamed) {
      row.memberId = id;
    }
    @On(Left, { key: (e) => e.handle, whenMissing: 'fail', delete: true })
    left() {}
  }

  @Projection('club.teams', { entity: TeamRow, version: 1, sync })
  class Teams {
    @OnDelta(Joined, { key: (e) => e.team })
    joined(row: Delta<TeamRow>) {
      row.add('members', 1);
    }
    @OnDelta(Earned, { key: (e) => e.team })
    earned(row: Delta<TeamRow>, { points }: Earned) {
      row.add('points', points);
    }
    @OnDelta(Moved, { key: (e) => e.from })
    from(row: Delta<TeamRow>, { points }: Moved) {
      row.add('members', -1).add('points', -points);
    }
    @OnDelta(Moved, { key: (e) => e.to })
    to(row: Delta<TeamRow>, { points }: Moved) {
      row.add('members', 1).add('points', points);
    }
    @OnDelta(Left, { key: (e) => e.team })
    left(row: Delta<TeamRow>, { points }: Left) {
      row.add('members', -1).add('points', -points);
    }
  }
  return [Members, Handles, Teams];
}

export const clubEntities: readonly Type[] = [Member, MemberRow, HandleRow, TeamRow];
export const clubProviders = (sync: SyncStrategy): readonly Type[] => [DoHandler, AskMemberHandler, AskHandleHandler, AskTeamHandler, ...projectionsOf(sync)];
