/** Jobs of one command that may run together share a ticket. */
import type { NewTicket } from './job-transport.js';

interface Group {
  readonly ticket: NewTicket;
  readonly others: string[];
}

/**
 * In their order, each where its first job was. Only jobs that have not run before and are due share one: another has a ticket of its own, with which it runs alone.
 * @param batchSizeOf how many of a command's jobs one ticket may have.
 */
export function sharedTickets(tickets: readonly (NewTicket & { readonly name: string })[], batchSizeOf: (name: string) => number): readonly NewTicket[] {
  const groups: Group[] = [];
  const open = new Map<string, Group>();
  for (const { name, ...ticket } of tickets) {
    const { again = 0, delayMs = 0, epoch, priority = 0, queue } = ticket;
    const size = epoch === 0 && delayMs === 0 ? batchSizeOf(name) : 1;
    const key = `${queue} ${name} ${priority} ${again}`;
    const first = size > 1 ? open.get(key) : undefined;
    if (first && first.others.length + 1 < size) {
      first.others.push(ticket.id);
      continue;
    }
    const group: Group = { ticket, others: [] };
    groups.push(group);
    if (size > 1) open.set(key, group);
  }
  return groups.map(({ others, ticket }) => (others.length === 0 ? ticket : { ...ticket, others }));
}
