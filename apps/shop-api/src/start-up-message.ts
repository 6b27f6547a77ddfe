import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from './environment.js';

/** What the API says when it serves: what it runs on, where it is, and three lines to paste. */
export function startUpMessage(environment: Environment, port: number, runsOn: string): string {
  const origin = `http://${reachable(environment.host)}:${port}`;
  return [
    '',
    `Tandem shop runs on ${runsOn}${environment.databaseUrl ? '' : '; set DATABASE_URL and REDIS_URL for MySQL and Redis'}`,
    '',
    `  API      ${origin}`,
    `  Swagger  ${origin}/docs`,
    `  Report   ${origin}/ops/report`,
    '',
    'Write, read your own write at once, and see what it cost:',
    '',
    ...curlLines(origin, environment.opsToken !== undefined),
    '',
    '',
  ].join('\n');
}

/** Each line is complete, so they work pasted together or one by one, in one terminal or several. */
export function curlLines(origin: string, opsToken: boolean): readonly [write: string, read: string, report: string] {
  const id = `ann-${randomBytes(3).toString('hex')}`;
  const answer = join(tmpdir(), `tandem-${id}.txt`);
  const body = JSON.stringify({ id, name: 'Ann', email: `${id}@example.com` });
  return [
    `curl -si ${origin}/users -H 'Content-Type: application/json' -d '${body}' | tee ${answer}; echo`,
    `curl -si ${origin}/users/${id} -H "$(grep -i '^consistency-token:' ${answer} | tr -d '\\r')"; echo`,
    `curl -s ${origin}/ops/report${opsToken ? ' -H "Authorization: Bearer $OPS_TOKEN"' : ''}`,
  ];
}

/** An address that means "all of them" is no address to call. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
