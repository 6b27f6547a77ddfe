/** Carries out in this process what the rig has armed. Nothing of it is in the library: drivers and ports are wrapped from outside. */
import { Injectable } from '@nestjs/common';
import { type Act, FAILPOINTS, type Failpoint, type Statement } from '../failpoints.js';

type Callback = (error: Error | null, ...rest: unknown[]) => void;
type Query = (sql: string | { readonly sql: string }, ...rest: unknown[]) => unknown;

interface DriverConnection {
  query: Query;
}
interface DriverPool {
  on(event: 'connection', listener: (connection: DriverConnection) => void): unknown;
}
interface Driver {
  createPool(config: object): DriverPool;
}

type StatementPoint = Failpoint & { readonly statement: Statement };
const STATEMENT_POINTS = FAILPOINTS.filter((point): point is StatementPoint => point.statement !== undefined);
/** What was sent before it belongs to no open transaction. */
const ENDS_TRANSACTION = /^(COMMIT|ROLLBACK)$|^START TRANSACTION|COMMIT; END$/;

export class Tripped extends Error {
  override readonly name = 'Tripped';
}

/** One for the process: connections and ports are wrapped before Nest makes anything. */
@Injectable()
export class Tripwires {
  private readonly armed = new Map<string, Act>();

  constructor(
    private readonly tell: (name: string) => void,
    private readonly role: Failpoint['role'],
  ) {}

  arm(name: string, act: Act): void {
    this.armed.set(name, act);
  }

  disarm(): void {
    this.armed.clear();
  }

  /** Trips here, once, if this is armed. @throws Tripped */
  reach(name: string): void {
    const act = this.armed.get(name);
    if (!act) return;
    this.armed.delete(name);
    this.tell(name);
    if (act === 'throw') throw new Tripped(`thrown at ${name}`);
    process.kill(process.pid, act === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  }

  /** Around a method of a port. */
  around<T extends object, K extends keyof T & string>(port: T, method: K, point: string): T {
    const call = (port[method] as (...args: unknown[]) => Promise<unknown>).bind(port);
    const watched = async (...args: unknown[]) => {
      this.reach(`${point}.before-add`);
      const answer = await call(...args);
      this.reach(`${point}.after-add`);
      return answer;
    };
    Object.assign(port, { [method]: watched });
    return port;
  }

  /** A driver whose statements are watched. */
  watching(driver: Driver): Driver {
    const createPool = (config: object) => {
      const pool = driver.createPool(config);
      pool.on('connection', (connection) => this.watch(connection));
      return pool;
    };
    return Object.create(driver, { createPool: { value: createPool } }) as Driver;
  }

  private watch(connection: DriverConnection): void {
    const query = connection.query.bind(connection);
    /** Statements of the open transaction that a point may stand behind. */
    let seen: string[] = [];
    connection.query = (sql, ...rest) => {
      const text = typeof sql === 'string' ? sql : sql.sql;
      const points = this.armed.size > 0 ? this.pointsAt(text, seen) : [];
      seen = ENDS_TRANSACTION.test(text) ? [] : text.includes('tandem_') ? [...seen.slice(-20), text.slice(0, 200)] : seen;
      const callback = rest.at(-1) as Callback;
      const trip = (when: Statement['when'], done: () => unknown): unknown => {
        try {
          for (const { name, statement } of points) if (statement.when === when) this.reach(name);
        } catch (error) {
          return void setImmediate(() => callback(error as Error));
        }
        return done();
      };
      if (points.length === 0 || typeof callback !== 'function') return query(sql, ...rest);
      return trip('before', () => query(sql, ...rest.slice(0, -1), (error: Error | null, ...reply: unknown[]) => trip('after', () => callback(error, ...reply))));
    };
  }

  private pointsAt(text: string, seen: readonly string[]): readonly StatementPoint[] {
    return STATEMENT_POINTS.filter(
      ({ name, role, statement: { behind, text: pattern } }) =>
        role === this.role && this.armed.has(name) && pattern.test(text) && (!behind || seen.some((statement) => behind.test(statement))),
    );
  }
}
