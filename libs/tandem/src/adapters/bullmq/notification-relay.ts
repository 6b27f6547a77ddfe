import { EventEmitter } from 'node:events';
import type { Notification, Pool, PoolClient } from 'pg';

/**
 * A server that runs all connections in one session (PGlite behind its socket) sends a NOTIFY only to the connection that
 * caused it. The relay passes it on to the others, so that an idle BullMQ worker learns of a job at once.
 */
export class NotificationRelay {
  private readonly clients = new Set<PoolClient>();
  private readonly passedOn = new WeakSet<Notification>();

  watch(pool: Pool): void {
    pool.on('connect', (client) => {
      this.clients.add(client);
      client.on('notification', (notification) => this.pass(client, notification));
    });
    pool.on('remove', (client) => this.clients.delete(client));
  }

  private pass(from: PoolClient, notification: Notification): void {
    if (this.passedOn.has(notification)) return;
    this.passedOn.add(notification);
    for (const client of this.clients) if (client !== from) EventEmitter.prototype.emit.call(client, 'notification', notification);
  }
}
