import type { SqlBackend } from './backends.js';

const COLUMNS: Readonly<Record<'mariadb' | 'mysql', readonly string[]>> = {
  mariadb: ['@@session.tx_isolation as isolation', '@@session.idle_transaction_timeout as idle'],
  // No limit on idle transactions: idle sessions end.
  mysql: ['@@session.transaction_isolation as isolation', '@@session.wait_timeout as idle'],
};

/** How a statement asks its session for the settings that Tandem relies on, and what they must be. */
export function sessionLimits({ name }: SqlBackend): { readonly columns: string; readonly expected: Readonly<Record<string, string>>; readonly id: string } {
  if (name === 'mariadb' || name === 'mysql')
    return {
      columns: [...COLUMNS[name], '@@session.time_zone as zone', '@@session.innodb_lock_wait_timeout as lock_wait', '@@session.net_write_timeout as net_write'].join(', '),
      expected: { isolation: 'READ-COMMITTED', idle: '10', zone: '+00:00', lock_wait: '5', net_write: '10' },
      id: 'connection_id()',
    };
  return {
    columns: [
      "current_setting('transaction_isolation') as isolation",
      "current_setting('idle_in_transaction_session_timeout') as idle",
      "current_setting('timezone') as zone",
      "current_setting('lock_timeout') as lock_wait",
      "current_setting('tcp_user_timeout') as net_write",
    ].join(', '),
    expected: { isolation: 'read committed', idle: '10s', zone: 'UTC', lock_wait: '5s', net_write: '10000' }, // the last as the socket has it
    id: 'pg_backend_pid()',
  };
}
