import pg from 'pg';
import type { PostgresQueueServer } from './postgres-queue-server.js';
import { RemoteInvalidationChannel } from './remote-invalidation-channel.js';

const HEARTBEAT_MS = 2_000;
const REOPEN_MS = 500;

/** LISTEN and NOTIFY on a connection of its own, which is made anew whenever it ends. */
export class PostgresInvalidationChannel extends RemoteInvalidationChannel {
  private readonly channel: string;
  private listening?: Promise<void>;

  constructor(
    private readonly server: PostgresQueueServer,
    queuePrefix: string,
  ) {
    super(server.outage);
    this.channel = `${queuePrefix}:tandem:changed`;
  }

  protected override async send(message: string): Promise<void> {
    const pool = await this.server.producers();
    await pool.query('SELECT pg_notify($1, $2)', [this.channel, message]);
  }

  protected override open(): Promise<void> {
    return new Promise((triedOnce) => {
      this.listening = this.keepListening(triedOnce);
    });
  }

  private async keepListening(triedOnce: () => void): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      try {
        await this.listenUntilLost(triedOnce);
      } catch (error) {
        if (!signal.aborted) this.outage.report(error);
      }
      this.lost();
      triedOnce();
      await this.clock.sleep(REOPEN_MS, signal);
    }
  }

  private async listenUntilLost(listening: () => void): Promise<void> {
    const client = new pg.Client({ ...(await this.server.config()), keepAlive: true, query_timeout: HEARTBEAT_MS, connectionTimeoutMillis: HEARTBEAT_MS });
    const ended = new AbortController();
    client.on('error', (error) => {
      this.outage.report(error);
      ended.abort();
    });
    client.on('end', () => ended.abort());
    client.on('notification', ({ channel, payload }) => channel === this.channel && this.received(payload ?? ''));
    const either = AbortSignal.any([ended.signal, this.stopped.signal]);
    try {
      await client.connect();
      await client.query(`LISTEN ${client.escapeIdentifier(this.channel)}`);
      this.found();
      listening();
      while (!either.aborted) {
        await this.clock.sleep(HEARTBEAT_MS, either);
        if (!either.aborted) await client.query('SELECT 1');
      }
    } finally {
      void client.end().catch((error: unknown) => this.outage.report(error)); // a dead server would keep us waiting
    }
  }

  protected override async close(): Promise<void> {
    await this.listening;
  }
}
