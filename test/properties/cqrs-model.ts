/**
 * CQRS as a six-tuple: commands, queries, a write model, a read model, δ_C : write model × command → write model × events, and
 * δ_Q : read model × query → answer. `project` carries the events over. Written down for a club, without any of the machinery:
 * members have a handle that nobody else has, collect points, and belong to a team.
 */

export type Command =
  | { readonly kind: 'join'; readonly id: string; readonly handle: string; readonly team: string }
  | { readonly kind: 'rename'; readonly id: string; readonly handle: string }
  | { readonly kind: 'earn'; readonly id: string; readonly points: number }
  | { readonly kind: 'move'; readonly id: string; readonly team: string }
  | { readonly kind: 'leave'; readonly id: string };

export type Query = { readonly kind: 'member'; readonly id: string } | { readonly kind: 'who-has'; readonly handle: string } | { readonly kind: 'team'; readonly team: string };

export type Event =
  | { readonly kind: 'joined'; readonly id: string; readonly handle: string; readonly team: string }
  | { readonly kind: 'renamed'; readonly id: string; readonly from: string; readonly to: string }
  | { readonly kind: 'earned'; readonly id: string; readonly team: string; readonly points: number }
  | { readonly kind: 'moved'; readonly id: string; readonly from: string; readonly to: string; readonly points: number }
  | { readonly kind: 'left'; readonly id: string; readonly handle: string; readonly team: string; readonly points: number };

export interface Member {
  readonly handle: string;
  readonly team: string;
  readonly points: number;
}
export interface MemberView extends Member {
  readonly changes: number;
}
export interface TeamView {
  readonly members: number;
  readonly points: number;
}

export type WriteModel = ReadonlyMap<string, Member>;
export interface ReadModel {
  readonly members: ReadonlyMap<string, MemberView>;
  readonly handles: ReadonlyMap<string, string>;
  readonly teams: ReadonlyMap<string, TeamView>;
}

export type Answer = MemberView | TeamView | string | null;
export type Refusal = 'taken' | 'missing';
export type Outcome = 'done' | Refusal;

export const nobody: WriteModel = new Map();
export const nothing: ReadModel = { members: new Map(), handles: new Map(), teams: new Map() };

const put = <K, V>(map: ReadonlyMap<K, V>, key: K, value: V | undefined): ReadonlyMap<K, V> => {
  const copy = new Map(map);
  if (value === undefined) copy.delete(key);
  else copy.set(key, value);
  return copy;
};

/** δ_C. A refused command changes nothing and has no events. */
export function deltaC(write: WriteModel, command: Command): { readonly write: WriteModel; readonly events: readonly Event[]; readonly outcome: Outcome } {
  const refused = (outcome: Refusal) => ({ write, events: [], outcome });
  const accepted = (member: Member | undefined, event: Event) => ({ write: put(write, command.id, member), events: [event], outcome: 'done' as const });
  const isTaken = (handle: string): boolean => [...write].some(([id, member]) => member.handle === handle && id !== command.id);
  const { id } = command;
  const member = write.get(id);
  if (command.kind === 'join') {
    const { handle, team } = command;
    return member || isTaken(handle) ? refused('taken') : accepted({ handle, team, points: 0 }, { kind: 'joined', id, handle, team });
  }
  if (!member) return refused('missing');
  const { handle, points, team } = member;
  switch (command.kind) {
    case 'rename':
      return isTaken(command.handle) ? refused('taken') : accepted({ ...member, handle: command.handle }, { kind: 'renamed', id, from: handle, to: command.handle });
    case 'earn':
      return accepted({ ...member, points: points + command.points }, { kind: 'earned', id, team, points: command.points });
    case 'move':
      return accepted({ ...member, team: command.team }, { kind: 'moved', id, from: team, to: command.team, points });
    case 'leave':
      return accepted(undefined, { kind: 'left', id, handle, team, points });
  }
}

/** How an event changes the read model. */
export function project({ handles, members, teams }: ReadModel, event: Event): ReadModel {
  const member = members.get(event.id);
  const changed = (change: Partial<Member>) => put(members, event.id, { ...member!, ...change, changes: member!.changes + 1 });
  const added = (map: ReadModel['teams'], team: string, count: number, points: number) => {
    const before = map.get(team) ?? { members: 0, points: 0 };
    return put(map, team, { members: before.members + count, points: before.points + points });
  };
  switch (event.kind) {
    case 'joined': {
      const { handle, id, team } = event;
      return { members: put(members, id, { handle, team, points: 0, changes: 1 }), handles: put(handles, handle, id), teams: added(teams, team, 1, 0) };
    }
    case 'renamed':
      return { members: changed({ handle: event.to }), handles: put(put(handles, event.from, undefined), event.to, event.id), teams };
    case 'earned':
      return { members: changed({ points: member!.points + event.points }), handles, teams: added(teams, event.team, 0, event.points) };
    case 'moved':
      return { members: changed({ team: event.to }), handles, teams: added(added(teams, event.from, -1, -event.points), event.to, 1, event.points) };
    case 'left':
      return { members: put(members, event.id, undefined), handles: put(handles, event.handle, undefined), teams: added(teams, event.team, -1, -event.points) };
  }
}

/** δ_Q */
export function deltaQ({ handles, members, teams }: ReadModel, query: Query): Answer {
  switch (query.kind) {
    case 'member':
      return members.get(query.id) ?? null;
    case 'who-has':
      return handles.get(query.handle) ?? null;
    case 'team':
      return teams.get(query.team) ?? null;
  }
}
