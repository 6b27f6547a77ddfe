import { Injectable, Logger } from '@nestjs/common';

/** Connections that a pool may have open at once. */
export interface PoolShare {
  readonly of: string;
  readonly atMost: number;
}

/** How many connections this process may open to the database: each adapter counts its own pools in, and one line at start tells the sum. */
@Injectable()
export class ConnectionBudget {
  private readonly logger = new Logger('Tandem');
  private readonly counted: { readonly server: string; readonly shares: () => readonly PoolShare[] }[] = [];
  private server: string | undefined;
  private limit: () => Promise<number | undefined> = () => Promise.resolve(undefined);

  /** Asked when the line is told. Counted where the log is on a server of the same kind: the queues may be elsewhere. */
  count(server: 'mysql' | 'postgres', shares: () => readonly PoolShare[]): void {
    this.counted.push({ server, shares });
  }

  /** The server of the log, and how many connections it takes of applications, where it tells. */
  limitedBy(server: 'mysql' | 'postgres', limit: () => Promise<number | undefined>): void {
    this.server = server;
    this.limit = limit;
  }

  private get shares(): readonly PoolShare[] {
    const here = this.counted.filter(({ server }) => server === this.server);
    return here.flatMap(({ shares }) => shares()).filter(({ atMost }) => atMost > 0);
  }

  /** Never fails: a server that does not tell its limit is no reason not to start. */
  async tell(): Promise<void> {
    const { shares } = this;
    if (shares.length === 0) return;
    const total = shares.reduce((sum, { atMost }) => sum + atMost, 0);
    const limit = await this.limit().catch(() => undefined);
    const pools = shares.map(({ of, atMost }) => `${atMost} for ${of}`).join(', ');
    const line = `This process opens at most ${total} connections to the database: ${pools}.`;
    if (limit === undefined) this.logger.log(line);
    else if (limit < total) this.logger.warn(`${line} The server takes only ${limit}: make the pools smaller.`);
    else this.logger.log(`${line} The server takes ${limit}, enough for ${Math.floor(limit / total)} such processes.`);
  }
}
