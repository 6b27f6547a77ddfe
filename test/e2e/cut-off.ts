import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A way to a server that can be cut, fall silent, and be mended, as a network does it. */
export class CutOff {
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((near) => this.join(near));
  private state: 'open' | 'cut' | 'silent' = 'open';

  constructor(
    private readonly host: string,
    private readonly port: number,
  ) {}

  /** The same URL by way of this proxy. */
  static async on(url: string): Promise<{ way: CutOff; url: string }> {
    const through = new URL(url);
    const way = new CutOff(through.hostname, Number(through.port));
    way.server.listen(0, '127.0.0.1');
    await once(way.server, 'listening');
    through.host = `127.0.0.1:${(way.server.address() as AddressInfo).port}`;
    return { way, url: through.href };
  }

  cut(): void {
    this.state = 'cut';
    for (const socket of this.sockets) socket.destroy();
  }

  /** Nothing goes through any more, and nobody is told. */
  silence(): void {
    this.state = 'silent';
    for (const socket of this.sockets) socket.unpipe().resume();
  }

  /** For new connections; those that fell silent stay so. */
  mend(): void {
    this.state = 'open';
  }

  close(): void {
    this.cut();
    this.server.close();
  }

  private join(near: Socket): void {
    if (this.state === 'cut') {
      near.destroy();
      return;
    }
    if (this.state === 'silent') {
      this.sockets.add(near);
      near.on('error', () => undefined).on('close', () => this.sockets.delete(near));
      near.resume();
      return;
    }
    const far = connect(this.port, this.host);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(from);
      from.pipe(to);
      from.on('error', () => undefined); // `close` follows, and ends the other side
      from.on('close', () => {
        this.sockets.delete(from);
        to.destroy();
      });
    }
  }
}
