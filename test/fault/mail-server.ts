/** The outside world: it never fails, and remembers every mail with its key. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

interface Mail {
  readonly order: string;
  readonly key: string;
}

export class MailServer {
  /** Order → keys of its mails, as often as they came. */
  readonly mails = new Map<string, string[]>();

  private constructor(private readonly server: Server) {}

  static async start(): Promise<MailServer> {
    const server = createServer();
    const mail = new MailServer(server);
    server.on('request', (request, response) => {
      void text(request).then(
        (body) => {
          const { key, order } = JSON.parse(body) as Mail;
          mail.mails.set(order, [...(mail.mails.get(order) ?? []), key]);
          response.end('{}');
        },
        () => response.destroy(), // its process was killed while it sent
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return mail;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}
