import { Injectable, Logger } from '@nestjs/common';

/** Connections that a pool may have open at once. */
export interface PoolShare {
  readonly of: string;
  readonly atMost: number;
}

interface Pools {
  readonly server: 'mysql' | 'postgres';
  /** Asked when the line is told. */
  readonly shares: () => readonly PoolShare[];
}

interface LogServer extends Pools {
  /** How many connections the server takes of applications, where it tells. */
  readonly limit: () => Promise<number | undefined>;
}

/** How many connections this process may open to the database: each adapter counts its own pools in, and one line at start tells the sum. */
@Injectable()
export class ConnectionBudget {
  private readonly logger = new Logger('Tandem');
  private log: LogServer | undefined;
  private readonly others: Pools[] = [];

  /** The pools of the log's adapter, and what its server takes. */
  ofLog(log: LogServer): void {
    this.log = log;
  }

  /** Pools of others; counted where the log is on a server of the same kind. */
  beside(server: Pools['server'], shares: Pools['shares']): void {
    this.others.push({ server, shares });
  }

  /** Never fails: a server that does not tell its limit is no reason not to start. */
  async tell(): Promise<void> {
    const { log } = this;
    if (!log) return;
    const shares = [log, ...this.others.filter(({ server }) => server === log.server)].flatMap((pools) => pools.shares());
    const total = shares.reduce((sum, { atMost }) => sum + atMost, 0);
    const limit = await log.limit().catch(() => undefined);
    const pools = shares.map(({ of, atMost }) => `${atMost} for ${of}`).join(', ');
    const line = `This process opens at most ${total} connections to the database: ${pools}.`;
    if (limit === undefined) this.logger.log(line);
    else if (limit < total) this.logger.warn(`${line} The server takes only ${limit}: make the pools smaller.`);
    else this.logger.log(`${line} The server takes ${limit}, enough for ${Math.floor(limit / total)} such processes.`);
  }
}
