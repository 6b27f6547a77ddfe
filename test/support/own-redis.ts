import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { freePort, OwnServer } from './own-server.js';

/** A Redis of the test's own that it may kill and start again, on a free port. */
export class OwnRedis extends OwnServer {
  protected override readonly name = 'redis-server';

  /** Whether this machine can run one. */
  static readonly available = spawnSync('redis-server', ['--version']).status === 0;

  /** Not started yet. */
  static async planned(): Promise<OwnRedis> {
    return new OwnRedis(await freePort());
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Empty, unless the settings name a dump. */
  async start(...settings: string[]): Promise<void> {
    await this.launch({ command: 'redis-server', args: ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...settings] });
  }

  /** NOAUTH is an answer, too; LOADING is none. */
  protected override async probe(): Promise<void> {
    const socket = connect(this.port, '127.0.0.1', () => socket.write('PING\r\n'));
    try {
      const [answer] = (await once(socket, 'data')) as [Buffer];
      if (answer.includes('LOADING')) throw new Error(String(answer));
    } finally {
      socket.destroy();
    }
  }
}
