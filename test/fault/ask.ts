import { type Agent, request } from 'node:http';
import type { Answer } from './asked.js';

const ANSWER_WITHIN_MS = 30_000;

export interface Question {
  readonly path: string;
  readonly body: object;
  /** For `Idempotency-Key`. */
  readonly id?: string;
}

/** Sends a request to an API. @throws when it did not answer */
export function ask(agent: Agent, port: number, { body, id, path }: Question): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', ...(id !== undefined && { 'idempotency-key': id }) };
    const sent = request({ port, host: '127.0.0.1', path, method: 'POST', agent, headers, timeout: ANSWER_WITHIN_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('error', reject).on('end', () => {
        try {
          resolve(JSON.parse(text) as Answer);
        } catch (error) {
          reject(error as Error);
        }
      });
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}
