export interface Answer {
  readonly status: number;
  readonly token: string | null;
  readonly type: string;
  readonly body: Record<string, unknown>;
  readonly list: readonly Record<string, unknown>[];
}

/** Talks to a running shop; what it writes it can read back with the token of the last write. */
export class ShopClient {
  constructor(readonly origin: string) {}

  get(path: string, token?: string | null): Promise<Answer> {
    return this.send('GET', path, undefined, token ? { 'Consistency-Token': token } : {});
  }
  post(path: string, body?: unknown): Promise<Answer> {
    return this.send('POST', path, body);
  }
  patch(path: string, body: unknown): Promise<Answer> {
    return this.send('PATCH', path, body);
  }
  delete(path: string): Promise<Answer> {
    return this.send('DELETE', path);
  }

  async send(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const raw = typeof body === 'string' ? body : JSON.stringify(body);
    const answer = await fetch(`${this.origin}${path}`, { method, headers: { ...(raw !== undefined && { 'Content-Type': 'application/json' }), ...headers }, body: raw });
    const text = await answer.text();
    const type = answer.headers.get('content-type') ?? '';
    const parsed = (type.includes('json') && text !== '' ? JSON.parse(text) : { text }) as unknown;
    return {
      status: answer.status,
      token: answer.headers.get('consistency-token'),
      type,
      body: parsed as Record<string, unknown>,
      list: Array.isArray(parsed) ? (parsed as Record<string, unknown>[]) : [],
    };
  }
}
