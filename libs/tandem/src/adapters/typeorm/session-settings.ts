/**
 * What every connection of a Tandem data source is set to before its first use. A process that was stopped between append and
 * COMMIT holds the lock of a shard, and with it one stream in 64, so a transaction may idle and wait for seconds only.
 */

/** A transaction that sends nothing for this long is rolled back by the server. MySQL has no limit on those, only on sessions: there an unused one ends, too, and the pool opens another. */
const IDLE_S = 10;
/** How long a session may have idled to be used again where the server ends those that idle: two seconds less than it leaves them. */
export const KEPT_IDLE_MS = (IDLE_S - 2) * 1_000;
const LOCK_WAIT_S = 5;
const NETWORK_WRITE_S = 10;

/**
 * Modes that a server may be set to and that Tandem cannot live with: with the first the driver's escaping of bound values lets them break out of their quotes, and with the others ids, tenants and
 * counters are not what was written. The application's other modes stay.
 */
const REFUSED_MODES = ['NO_BACKSLASH_ESCAPES', 'PAD_CHAR_TO_FULL_LENGTH', 'SIMULTANEOUS_ASSIGNMENT', 'EMPTY_STRING_IS_NULL', 'ORACLE'];
/** Strict: what does not fit its column is refused, not cut short. */
const SQL_MODE = REFUSED_MODES.reduce((modes, refused) => `REPLACE(${modes}, ',${refused},', ',')`, "CONCAT(',', @@SESSION.sql_mode, ',STRICT_TRANS_TABLES,')");

/** Where somebody has set the server to something else, each of these would lose rows, refuse statements, or have them committed when nobody asked for it. The limit is none: Vitess takes no greater number. */
const AS_EXPECTED =
  "SESSION autocommit = 1, SESSION completion_type = 'NO_CHAIN', SESSION sql_select_limit = 9223372036854775807, SESSION sql_auto_is_null = 0, SESSION sql_safe_updates = 0";

/** MariaDB runs what stands in `/*M! … *\/`, MySQL 8 what stands in `/*!80000 … *\/`; each takes the other's for a comment. */
export const MYSQL_SESSION: readonly string[] = [
  `SET ${AS_EXPECTED}, SESSION time_zone = '+00:00', SESSION sql_mode = ${SQL_MODE}` +
    `, SESSION innodb_lock_wait_timeout = ${LOCK_WAIT_S}, SESSION net_write_timeout = ${NETWORK_WRITE_S}` +
    ` /*M! , SESSION idle_transaction_timeout = ${IDLE_S} */ /*!80000 , SESSION wait_timeout = ${IDLE_S} */`,
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
];

/** Of sessions on which only units of work run: their first statement begins the transaction, which saves the round trip of START TRANSACTION. */
export const NO_AUTOCOMMIT = 'SET SESSION autocommit = 0';

/** Wherever somebody has set a server, a database or a role to something else: dates and numbers are read as they were written, and NULL equals nothing. */
const POSTGRES_DEFAULTS = ['datestyle=ISO,MDY', 'intervalstyle=postgres', 'extra_float_digits=1', 'standard_conforming_strings=on', 'transform_null_equals=off'];

/** Sent as the start-up parameter `options`, so it costs no round trip. PGlite ignores it: there one session serves every connection. Whether writes are allowed is the operator's to say: no `default_transaction_read_only`. */
export const POSTGRES_OPTIONS = [
  `idle_in_transaction_session_timeout=${IDLE_S}s`,
  `lock_timeout=${LOCK_WAIT_S}s`,
  `tcp_user_timeout=${NETWORK_WRITE_S}s`,
  'timezone=UTC',
  String.raw`default_transaction_isolation=read\ committed`,
  ...POSTGRES_DEFAULTS,
]
  .map((setting) => `-c ${setting}`)
  .join(' ');
