/** A database with releases at work on it, and what their rows must be by the log. */
import { randomBytes } from 'node:crypto';
import type { INestApplicationContext } from '@nestjs/common';
import type { TandemRole } from 'nest-tandem';
import { tandemMigrations } from 'nest-tandem/typeorm';
import { DataSource, type DataSourceOptions, type EntityTarget } from 'typeorm';
import { expect, vi } from 'vitest';
import { redisBackend, type SqlBackend, type TestDatabase } from '../../support/backends.js';
import { Crowd, crowdOf, Letter, LETTER_AMOUNT, NewView, OldView, type Release, releaseEntities, type ReleasePlace, startRelease, Trail } from './release.js';
import { ReleaseProcess } from './release-process.js';

const SETTLES = { timeout: 90_000, interval: 50 };

interface Logged {
  readonly stream: string;
  readonly version: number;
  readonly type: string;
  readonly payload: string | { readonly thing: string; readonly amount: number };
}

const numbered = ({ id }: { id: string }, { id: other }: { id: string }): number => (id < other ? -1 : 1);

export class Deployment {
  private readonly processes: ReleaseProcess[] = [];
  private readonly apps: INestApplicationContext[] = [];

  private constructor(
    private readonly database: TestDatabase,
    readonly place: ReleasePlace,
    readonly source: DataSource,
  ) {}

  static async begin(backend: SqlBackend): Promise<Deployment> {
    const database = await backend.create();
    const options: DataSourceOptions = { ...database.dataSourceOptions, entities: releaseEntities, migrations: tandemMigrations(), migrationsRun: true, synchronize: true };
    const source = await new DataSource(options).initialize();
    // Also beside PostgreSQL, whose connections are few for so many processes.
    const redisUrl = redisBackend()?.url;
    return new Deployment(database, { database: database.dataSourceOptions, queuePrefix: `t${randomBytes(5).toString('hex')}`, redisUrl }, source);
  }

  async process(release: Release, role?: TandemRole): Promise<ReleaseProcess> {
    const started = await ReleaseProcess.start(this.place, release, role);
    this.processes.push(started);
    return started;
  }

  /** In the test's own process. */
  async application(release: Release, role?: TandemRole): Promise<INestApplicationContext> {
    const app = await startRelease(this.place, release, role);
    this.apps.push(app);
    return app;
  }

  async end(): Promise<void> {
    for (const each of this.processes) each.thaw();
    await Promise.all([...this.processes.map((each) => each.stop()), ...this.apps.map((app) => app.close())]);
    await this.source.destroy();
    await this.database.drop();
  }

  async count(): Promise<number> {
    return Number((await this.source.query<{ n: number }[]>('SELECT COUNT(*) AS n FROM tandem_event'))[0]!.n);
  }

  /** Resolves when the log has grown by so many events. */
  async traffic(events: number): Promise<void> {
    const from = await this.count();
    await vi.waitFor(async () => expect(await this.count()).toBeGreaterThan(from + events), SETTLES);
  }

  /** Nothing to read, nothing held, no job left. */
  async settled(consumers: readonly string[]): Promise<void> {
    const names = consumers.map((name) => `'${name}'`).join(', ');
    const zero = async (sql: string) => Number((await this.source.query<{ n: number | string }[]>(sql))[0]!.n);
    await vi.waitFor(async () => {
      const letters = await this.source.query<object[]>('SELECT consumer, stream, state, error FROM tandem_dead_letter');
      expect(letters).toEqual([]);
      expect(await zero(`SELECT COUNT(*) AS n FROM tandem_consumer WHERE name IN (${names})`)).toBe(consumers.length);
      expect(await zero(`SELECT COUNT(*) AS n FROM tandem_checkpoint p JOIN tandem_shard s ON s.shard = p.shard AND s.head > p.seq WHERE p.consumer IN (${names})`)).toBe(0);
      expect(await zero("SELECT COUNT(*) AS n FROM tandem_job WHERE state <> 'done'")).toBe(0);
    }, SETTLES);
  }

  async log(): Promise<readonly Logged[]> {
    return this.source.query<Logged[]>('SELECT stream, version, type, payload FROM tandem_event ORDER BY shard, seq');
  }

  /** Each row's version is its stream's last, and each event came right behind the one before it. */
  async expectTrails(views: readonly ('trails' | 'old' | 'new')[]): Promise<void> {
    const last = new Map<string, number>();
    for (const { stream, version } of await this.log()) last.set(stream.slice('thing-'.length), Math.max(version, last.get(stream.slice('thing-'.length)) ?? 0));
    const right = [...last].map(([id, version]) => ({ id, version, broken: 0 })).sort(numbered);
    const entities: Record<string, EntityTarget<Trail>> = { trails: Trail, old: OldView, new: NewView };
    for (const view of views) expect((await this.source.getRepository(entities[view]!).find()).map((row) => ({ ...row })).sort(numbered), view).toEqual(right);
  }

  async expectCrowds(): Promise<void> {
    const right = new Map<string, { notes: number; amount: number }>();
    for (const { amount, thing } of await this.noted()) {
      const { notes, amount: sum } = right.get(crowdOf(thing)) ?? { notes: 0, amount: 0 };
      right.set(crowdOf(thing), { notes: notes + 1, amount: sum + amount });
    }
    const rows = await this.source.getRepository(Crowd).find();
    expect(new Map(rows.map(({ id, notes, amount }) => [id, { notes, amount }]))).toEqual(right);
  }

  /** One for each note that asks for it. */
  async expectLetters(): Promise<void> {
    const asked = (await this.noted()).filter(({ amount }) => amount === LETTER_AMOUNT).map(({ id }) => ({ id, times: 1 }));
    expect((await this.sent(false)).sort(numbered)).toEqual(asked.sort(numbered));
  }

  /** One for each job that a saga with cards has made, at the first attempt: who gives a job back uses none up. */
  async expectCards(): Promise<void> {
    const jobs = await this.source.query<{ attempts: number }[]>("SELECT attempts FROM tandem_job WHERE name = 'roll.send-card' AND state = 'done'");
    expect(jobs.length).toBeGreaterThan(0);
    expect(jobs.map(({ attempts }) => attempts)).toEqual(jobs.map(() => 1));
    expect((await this.sent(true)).map(({ times }) => times)).toEqual(jobs.map(() => 1));
  }

  private async sent(cards: boolean): Promise<{ id: string; times: number }[]> {
    const rows = await this.source.getRepository(Letter).find();
    return rows.filter(({ id }) => id.startsWith('card.') === cards).map((row) => ({ ...row }));
  }

  private async noted(): Promise<{ id: string; thing: string; amount: number }[]> {
    const notes = (await this.log()).filter(({ type }) => type === 'roll.noted');
    return notes.map(({ payload, stream, version }) => {
      const { amount, thing } = typeof payload === 'string' ? (JSON.parse(payload) as { thing: string; amount: number }) : payload;
      return { id: `${stream}.${version}`, thing, amount };
    });
  }
}
