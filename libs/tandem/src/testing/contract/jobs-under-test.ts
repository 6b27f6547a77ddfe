import assert from 'node:assert/strict';
import type { JobChange, JobState, JobStore, JobTicket, NewJob } from '../../jobs/job-store.js';
import { newId } from '../../kernel/new-id.js';
import type { UnitOfWork } from '../../kernel/unit-of-work.js';

/** A store without jobs, and the units of work of the same database. */
export interface JobsUnderTest {
  readonly jobs: JobStore;
  readonly units: UnitOfWork;
}

/** Longer than a case runs. */
export const LEASE_MS = 600_000;
/** It has run out as soon as it is taken. */
export const NO_LEASE_MS = 0;

export const newJob = (own: Partial<NewJob> = {}): NewJob => ({
  ...{ id: newId(), name: 'orders.confirm', queue: 'mail', payload: '{"total":1.10}', metadata: '{"correlationId":"c"}' },
  ...{ dedupeKey: null, delayMs: 0, priority: 0, sequenceKey: null },
  ...own,
});

export const insert = ({ jobs, units }: JobsUnderTest, ...rows: NewJob[]): Promise<readonly JobTicket[]> => units.run((unit) => jobs.insert(unit, rows));

export const waiting = async (subject: JobsUnderTest, own?: Partial<NewJob>): Promise<JobTicket> => (await insert(subject, newJob(own)))[0]!;

export async function running(subject: JobsUnderTest, own?: Partial<NewJob>, leaseMs = LEASE_MS): Promise<JobTicket> {
  return claimed(subject, await waiting(subject, own), leaseMs);
}

export async function claimed({ jobs }: JobsUnderTest, ticket: JobTicket, leaseMs = LEASE_MS): Promise<JobTicket> {
  const job = await jobs.claim(ticket, leaseMs);
  assert.ok(job, `job ${ticket.id} cannot be claimed`);
  const { id, epoch, queue, priority } = job;
  return { id, epoch, queue, priority };
}

export const discard = async ({ jobs, units }: JobsUnderTest, id: string): Promise<JobChange> => (await units.run((unit) => jobs.discard(unit, id, 'a test'))).change;

export async function done(subject: JobsUnderTest): Promise<JobTicket> {
  const ticket = await running(subject);
  await subject.jobs.complete(ticket);
  return ticket;
}

const STATES: readonly JobState[] = ['waiting', 'held', 'running', 'done', 'parked', 'discarded'];

export async function stateOf({ jobs }: JobsUnderTest, id: string): Promise<JobState | undefined> {
  for (const state of STATES) if ((await jobs.list(state, 1_000)).some((job) => job.id === id)) return state;
  return undefined;
}
