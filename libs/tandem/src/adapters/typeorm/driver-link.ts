import type { Socket } from 'node:net';
import type { DataSource } from 'typeorm';
import { TandemError } from '../../kernel/errors.js';
import { bindMysql, bindPostgres, type Dialect } from './statement-text.js';

export interface Sql {
  readonly dialect: Dialect;
  /**
   * MySQL: rows, or the ResultSetHeader (`affectedRows`, `insertId`, `serverStatus`). PostgreSQL: rows for SELECT and RETURNING,
   * else `{ affectedRows }`. BIGINT columns may come as strings: use `Number()`. Throws the driver's error as it is.
   */
  query<R = unknown>(text: string, params?: readonly unknown[]): Promise<R>;
}

/** The part of a driver's connection that we use ourselves, the same for both drivers. */
export interface DriverLink {
  /** Undefined where the driver does not show it. */
  readonly socket: Socket | undefined;
  /** Whether an answer to `send` or `commit` is due. */
  readonly isSending: boolean;
  /** Rows, or a header with `affectedRows`. Throws the driver's error as it is. */
  send(text: string, params?: readonly unknown[]): Promise<unknown>;
  /** Sends COMMIT and tells whether the database says that it committed. */
  commit(): Promise<boolean>;
  /** For a transaction that the next statement begins: until its reply says otherwise. */
  assumeInTransaction(): void;
  /** What the last reply said; undefined when the driver does not tell. `reply` is of a statement that TypeORM sent. */
  inTransaction(reply?: unknown): boolean | undefined;
  /** Calls back when the connection breaks while nothing is being sent. Returns how to stop listening. */
  onLost(listener: (error: unknown) => void): () => void;
  /** Cuts the connection, so that the pool makes a new one. */
  destroy(): void;
}

/** Which of the two SQL dialects a data source speaks. @throws TANDEM_WIRING for any other. */
export function dialectOf(dataSource: DataSource): Dialect {
  const { type } = dataSource.options;
  if (type === 'mysql' || type === 'mariadb') return 'mysql';
  if (type === 'postgres') return 'postgres';
  throw new TandemError('TANDEM_WIRING', `A data source of type "${type}" cannot carry Tandem: it needs mysql, mariadb or postgres`);
}

interface MysqlConnection {
  readonly stream?: Socket;
  query(options: object, callback: (error: unknown, reply: unknown) => void): unknown;
  escape(value: unknown): string;
  destroy(): void;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  off(event: 'error', listener: (error: unknown) => void): unknown;
}

interface PgResult {
  readonly command: string | null;
  readonly rowCount: number | null;
  readonly rows: unknown[];
  readonly fields: readonly unknown[];
}

interface PgClient {
  readonly connection?: { readonly stream?: Socket };
  query(text: string, params?: readonly unknown[]): Promise<PgResult | PgResult[]>;
  getTransactionStatus?(): string | null;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  off(event: 'error', listener: (error: unknown) => void): unknown;
  end(): unknown;
}

export function linkTo(connection: unknown, dialect: Dialect): DriverLink {
  return dialect === 'mysql' ? new MysqlLink(connection as MysqlConnection) : new PostgresLink(connection as PgClient);
}

/** In the status flags of every reply that is not rows. */
const SERVER_STATUS_IN_TRANS = 1;

/**
 * Whether a reply says that its connection is in a transaction. MySQL tells in the status flags of a ResultSetHeader; a reply
 * without flags (rows, PostgreSQL) says nothing against it.
 */
export function inTransaction(reply: unknown): boolean {
  const status = statusOf(reply);
  return status === undefined || (status & SERVER_STATUS_IN_TRANS) !== 0;
}

interface Flagged {
  readonly serverStatus?: unknown;
  readonly raw?: unknown;
}

/** From mysql2's header, from the one inside TypeORM's structured result, or from the last of several replies (CALL). */
function statusOf(reply: unknown): number | undefined {
  if (typeof reply !== 'object' || reply === null) return undefined;
  if (Array.isArray(reply)) return isHeader(reply.at(-1)) ? statusOf(reply.at(-1)) : undefined;
  const { serverStatus, raw } = reply as Flagged;
  if (raw !== undefined) return statusOf(raw);
  return typeof serverStatus === 'number' ? serverStatus : undefined;
}

/** A row may have a column of any name, so what follows rows is known by its class. */
const isHeader = (reply: unknown): boolean => (reply as object | null | undefined)?.constructor?.name === 'ResultSetHeader';

class MysqlLink implements DriverLink {
  isSending = false;
  private inside = false;

  constructor(private readonly connection: MysqlConnection) {}

  get socket(): Socket | undefined {
    return this.connection.stream;
  }

  send(text: string, params?: readonly unknown[]): Promise<unknown> {
    this.isSending = true;
    return new Promise((resolve, reject) => {
      const sql = params?.length ? bindMysql(text, params, (value) => this.connection.escape(value)) : text;
      // What the application set for its own queries must not change how Tandem's columns arrive.
      this.connection.query({ sql, supportBigNumbers: true, bigNumberStrings: false, timezone: 'Z', rowsAsArray: false, typeCast: true }, (error, reply) => {
        this.isSending = false;
        if (error) return reject(error as Error);
        this.inTransaction(reply);
        resolve(reply);
      });
    });
  }

  async commit(): Promise<boolean> {
    await this.send('COMMIT');
    return true;
  }

  inTransaction(reply?: unknown): boolean {
    if (statusOf(reply) !== undefined) this.inside = inTransaction(reply);
    return this.inside;
  }

  assumeInTransaction(): void {
    this.inside = true;
  }

  onLost(listener: (error: unknown) => void): () => void {
    this.connection.on('error', listener);
    return () => this.connection.off('error', listener);
  }

  destroy(): void {
    this.connection.destroy();
  }
}

class PostgresLink implements DriverLink {
  isSending = false;

  constructor(private readonly client: PgClient) {}

  get socket(): Socket | undefined {
    return this.client.connection?.stream;
  }

  async send(text: string, params?: readonly unknown[]): Promise<unknown> {
    const bound = params?.length ? bindPostgres(text, params) : { text, params: undefined };
    const answer = await this.answerTo(bound.text, bound.params);
    const result = Array.isArray(answer) ? answer.at(-1)! : answer;
    return result.fields.length > 0 || result.command === 'SELECT' ? result.rows : { affectedRows: result.rowCount ?? 0 };
  }

  /** PostgreSQL answers COMMIT of a failed transaction with the tag ROLLBACK, and without an error. */
  async commit(): Promise<boolean> {
    const answer = await this.answerTo('COMMIT');
    return !Array.isArray(answer) && answer.command === 'COMMIT';
  }

  private async answerTo(text: string, params?: readonly unknown[]): Promise<PgResult | PgResult[]> {
    this.isSending = true;
    try {
      return await this.client.query(text, params);
    } finally {
      this.isSending = false;
    }
  }

  inTransaction(): boolean | undefined {
    const status = this.client.getTransactionStatus?.();
    return typeof status === 'string' ? status !== 'I' : undefined;
  }

  assumeInTransaction(): void {
    // pg knows by itself
  }

  onLost(listener: (error: unknown) => void): () => void {
    this.client.on('error', listener);
    return () => this.client.off('error', listener);
  }

  destroy(): void {
    void this.client.end();
  }
}
