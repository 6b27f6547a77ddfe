import { createServer, connect, type AddressInfo, type Socket } from 'node:net';

/** Stands between a client and a database server, and cuts a connection when it sends a certain statement. */
export interface CuttingProxy {
  /** The same database, reached through the proxy. */
  readonly url: string;
  /** Cuts the next connection that sends `text`: before the server sees it, or when the server has answered, without passing the answer on. */
  cutAt(text: string, when: 'before' | 'after'): void;
  /** On the next connection that sends `text` nothing is heard any more; the server sees it, or not, and nobody is cut. */
  silenceAt(text: string, when: 'before' | 'after'): void;
  /** Cuts every connection and refuses new ones. */
  stop(): Promise<void>;
}

export async function startCuttingProxy(databaseUrl: string): Promise<CuttingProxy> {
  const target = new URL(databaseUrl);
  const open = new Set<Socket>();
  let trap: { readonly text: string; readonly when: 'before' | 'after'; readonly how: 'cut' | 'silence' } | undefined;

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    let cutOnAnswer = false;
    let silent = false;
    const cut = () => [client, upstream].forEach((socket) => socket.destroy());
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', cut).on('close', () => (open.delete(socket), cut()));
    }
    client.on('data', (data) => {
      if (trap && data.includes(trap.text)) {
        const { how, when } = trap;
        trap = undefined;
        if (how === 'silence') silent = true;
        else if (when === 'before') cut();
        else cutOnAnswer = true;
        if (when === 'before') return;
        upstream.write(data);
      } else if (!silent) upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (cutOnAnswer) cut();
      else if (!silent) client.write(data);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    cutAt: (text, when) => void (trap = { text, when, how: 'cut' }),
    silenceAt: (text, when) => void (trap = { text, when, how: 'silence' }),
    async stop() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
