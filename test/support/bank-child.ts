/**
 * The bank in a process of its own that is killed (SIGKILL) before or after one of its statements: the driver is watched from outside, so that the
 * product knows nothing of it. Its argument is a `BankChild` as JSON.
 */
import 'reflect-metadata';
import mysql from 'mysql2';
import pg from 'pg';
import { HistoryImport, Projections } from 'nest-tandem';
import { type BankPlace, startBank } from './bank-application.js';
import { legacyAccounts } from './legacy-accounts.js';

export interface KillAt {
  readonly when: 'before' | 'after';
  /** Source of a regular expression. */
  readonly statement: string;
  /** Only once this one was sent. */
  readonly since?: string;
  /** Of those that match the first ones do nothing. Default 0. */
  readonly skip?: number;
}

export interface BankChild {
  readonly place: Pick<BankPlace, 'queuePrefix' | 'redisUrl' | 'name'> & { readonly database: Pick<NonNullable<BankPlace['database']>, 'url' | 'dataSourceOptions'> };
  readonly settings: Omit<NonNullable<Parameters<typeof startBank>[1]>, 'providers' | 'without' | 'entities'>;
  /** The projection that it rebuilds at once. */
  readonly rebuild?: string;
  /** So many accounts are imported at once. */
  readonly legacy?: number;
  readonly kill?: KillAt;
}

const { kill, legacy, place, rebuild, settings } = JSON.parse(process.argv[2]!) as BankChild;
const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('dead');
};

if (kill) {
  const statement = new RegExp(kill.statement);
  let armed = kill.since === undefined;
  let left = kill.skip ?? 0;
  const seen = (text: string): 'before' | 'after' | undefined => {
    const matches = armed && statement.test(text);
    if (kill.since !== undefined && new RegExp(kill.since).test(text)) armed = true;
    return matches && left-- <= 0 ? kill.when : undefined;
  };
  type Query = (options: string | { sql: string }, ...rest: unknown[]) => unknown;
  const connection = (mysql as unknown as { Connection: { prototype: { query: Query } } }).Connection.prototype;
  const mysqlQuery = connection.query;
  connection.query = function (this: unknown, options, ...rest) {
    const when = seen(typeof options === 'string' ? options : options.sql);
    if (when === 'before') die();
    const callback = rest.at(-1);
    if (when === 'after' && typeof callback === 'function') rest[rest.length - 1] = die;
    return mysqlQuery.call(this, options, ...rest);
  };
  const client = pg.Client.prototype as unknown as { query: (text: unknown, ...rest: unknown[]) => unknown };
  const pgQuery = client.query;
  client.query = function (this: unknown, text, ...rest) {
    const when = seen(typeof text === 'string' ? text : String((text as { text?: string } | null)?.text ?? ''));
    if (when === 'before') die();
    const result = pgQuery.call(this, text, ...rest);
    return when === 'after' ? (result as Promise<unknown>).then(die) : result;
  };
}

process.once('disconnect', () => process.exit());
const bank = await startBank(place as BankPlace, settings);
process.send!('ready');
const told = (work: Promise<unknown>): void =>
  void work.then(
    () => process.send!('done'),
    (error: unknown) => process.send!(String(error)),
  );
if (rebuild !== undefined) told(bank.app.get(Projections).rebuild(rebuild));
if (legacy !== undefined) told(bank.app.get(HistoryImport).run(legacyAccounts(legacy)));
