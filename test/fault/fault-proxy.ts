/** Stands between one process and one server: passes bytes on, late, or not at all, or cuts a connection at a COMMIT. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

interface Link {
  readonly client: Socket;
  readonly upstream: Socket;
}

export type CommitCut = 'before' | 'after';

/** At the end of a packet: the statement alone, or the block that ends with it. */
const COMMIT = /COMMIT(; END)?$/;

export class FaultProxy {
  private readonly links = new Set<Link>();
  private delayMs = 0;
  private deaf = false;
  private cut: CommitCut | undefined;
  private onCut: (() => void) | undefined;

  private constructor(
    private readonly server: Server,
    private readonly targetPort: number,
  ) {}

  static async to(targetPort: number): Promise<FaultProxy> {
    const server = createServer({ noDelay: true });
    const proxy = new FaultProxy(server, targetPort);
    server.on('connection', (client) => proxy.accept(client));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.links.size;
  }

  /** From now on every packet comes so much later, in order. 0 ends it. */
  delay(ms: number): void {
    this.delayMs = ms;
  }

  /** Every open connection ends with a RST. */
  reset(): void {
    for (const { client, upstream } of this.links) {
      client.resetAndDestroy();
      upstream.destroy();
    }
  }

  /** Nothing passes in either direction, and nobody is told; `heal` ends it, and then the silent connections too. */
  silence(): void {
    this.deaf = true;
  }

  heal(): void {
    this.delayMs = 0;
    this.cut = undefined;
    if (!this.deaf) return;
    this.deaf = false;
    this.reset();
  }

  /** Cuts the next connection that sends a COMMIT: before the server sees it, or when it has answered. */
  cutAtCommit(when: CommitCut, onCut: () => void): void {
    this.cut = when;
    this.onCut = onCut;
  }

  async close(): Promise<void> {
    this.reset();
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(client: Socket): void {
    const upstream = connect({ port: this.targetPort, host: '127.0.0.1', noDelay: true });
    const link = { client, upstream };
    this.links.add(link);
    const end = () => {
      this.links.delete(link);
      client.destroy();
      upstream.destroy();
    };
    let cutAtAnswer = false;
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
    client.on('data', (data) => {
      if (this.cut && COMMIT.test(data.toString('latin1', Math.max(0, data.length - 20)))) {
        const when = this.cut;
        this.cut = undefined;
        this.onCut?.();
        if (when === 'before') return end();
        cutAtAnswer = true;
      }
      this.pass(data, upstream);
    });
    upstream.on('data', (data) => (cutAtAnswer ? end() : this.pass(data, client)));
  }

  private pass(data: Buffer, to: Socket): void {
    if (this.deaf) return;
    if (this.delayMs === 0) return void to.write(data);
    // Timers of one length fire in the order in which they were set.
    setTimeout(() => !to.destroyed && to.write(data), this.delayMs);
  }
}
