/**
 * What every connection of a Tandem data source is set to before its first use. A process that was stopped between append and
 * COMMIT holds the lock of a shard, and with it one stream in 64, so a transaction may idle and wait for seconds only.
 */

/** A transaction that sends nothing for this long is rolled back by the server. MySQL has no limit on those, only on sessions: there an unused one ends, too, and the pool opens another. */
const IDLE_S = 10;
const LOCK_WAIT_S = 5;
const NETWORK_WRITE_S = 10;

/** MariaDB runs what stands in `/*M! … *\/`, MySQL 8 what stands in `/*!80000 … *\/`; each takes the other's for a comment. */
export const MYSQL_SESSION: readonly string[] = [
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  `SET SESSION time_zone = '+00:00', SESSION innodb_lock_wait_timeout = ${LOCK_WAIT_S}, SESSION net_write_timeout = ${NETWORK_WRITE_S}` +
    ` /*M! , SESSION idle_transaction_timeout = ${IDLE_S} */ /*!80000 , SESSION wait_timeout = ${IDLE_S} */`,
];

/** Of sessions on which only units of work run: their first statement begins the transaction, which saves the round trip of START TRANSACTION. */
export const NO_AUTOCOMMIT = 'SET SESSION autocommit = 0';

/** Sent as the start-up parameter `options`, so it costs no round trip. PGlite ignores it: there one session serves every connection. */
export const POSTGRES_OPTIONS = [`idle_in_transaction_session_timeout=${IDLE_S}s`, `lock_timeout=${LOCK_WAIT_S}s`, `tcp_user_timeout=${NETWORK_WRITE_S}s`, 'timezone=UTC']
  .map((setting) => `-c ${setting}`)
  .join(' ');
