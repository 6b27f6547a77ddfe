import { setTimeout as sleep } from 'node:timers/promises';
import { isTandemError } from 'nest-tandem';
import { expect, vi } from 'vitest';
import { Open } from './bank.js';
import type { Bank } from './bank-application.js';

/** What a command may end with while its database is away: it may be sent again. */
export const RETRYABLE = ['TANDEM_STORAGE_UNAVAILABLE', 'TANDEM_ACQUIRE_TIMEOUT', 'TANDEM_COMMIT_UNKNOWN', 'TANDEM_COMMIT_FAILED'];
export const patient = { timeout: 60_000, interval: 20 };
const PAUSE_MS = 5;

/** Accounts that are opened, one after the other in each lane, and what became of them. */
export class BankTraffic {
  readonly acknowledged = new Set<string>();
  /** Errors that a caller could not do anything about. */
  readonly wrong: unknown[] = [];
  failed = 0;
  private resting = false;
  private readonly lanes: readonly Promise<void>[];

  constructor(
    private readonly bank: Bank,
    readonly size = 8,
  ) {
    this.lanes = Array.from({ length: size }, (_, lane) => this.open(`lane${lane}`));
  }

  private async open(lane: string): Promise<void> {
    for (let n = 0; !this.resting; n++) {
      const id = `${lane}.${n}`;
      await this.bank.commands.execute(new Open(id)).then(
        () => this.acknowledged.add(id),
        (error: unknown) => {
          this.failed += 1;
          if (!isTandemError(error) || !RETRYABLE.includes(error.code)) this.wrong.push(error);
        },
      );
      await sleep(PAUSE_MS);
    }
  }

  /** So many more are acknowledged. */
  async goesOn(more = 30): Promise<void> {
    const before = this.acknowledged.size;
    await expect.poll(() => this.acknowledged.size, patient).toBeGreaterThan(before + more);
  }

  /** Every lane has met the fault. */
  async fails(): Promise<void> {
    const before = this.failed;
    await expect.poll(() => this.failed, patient).toBeGreaterThan(before + this.size);
  }

  async rest(): Promise<void> {
    this.resting = true;
    await Promise.all(this.lanes);
  }

  /** What was acknowledged is there, the rest is there as a whole or not at all, and nothing is done twice in SQL. */
  async isWhole(): Promise<void> {
    await this.rest();
    const { bank } = this;
    // A connection outside of units of work may have been lost, too.
    const look = async <T>(sql: string): Promise<T[]> => vi.waitFor(() => bank.rows<T>(sql), patient);
    await expect.poll(() => bank.idle(60_000).then(() => 'idle', String), { timeout: 90_000 }).toBe('idle');
    expect(this.wrong).toEqual([]);
    const opened = (await look<{ id: string }>('SELECT id FROM bank_account')).map(({ id }) => id).toSorted();
    expect([...this.acknowledged].filter((id) => !opened.includes(id))).toEqual([]);
    const read = (await look<{ id: string }>('SELECT id FROM bank_account_view')).map(({ id }) => id);
    expect(read.toSorted()).toEqual(opened);
    const counted = await look<{ accountId: string; count: number }>('SELECT * FROM bank_letter');
    expect(counted.map(({ accountId, count }) => `${accountId} ${count}`).toSorted()).toEqual(opened.map((id) => `${id} 1`));
    // At least once, and under one key.
    const letters = new Map(bank.faults.letters.map(({ accountId, key }) => [key, accountId]));
    expect([...letters.values()].toSorted()).toEqual(opened);
  }
}
