import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, appendFile, link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { SentMessageInfo, Transporter } from 'nodemailer';
import { createTransport } from 'nodemailer';
import { ShopError } from '../shop-error.js';

export interface Mail {
  readonly to: { readonly name: string; readonly address: string };
  readonly subject: string;
  readonly text: string;
  /** The same for every attempt of one job: it names the file and the Message-ID. */
  readonly idempotencyKey: string;
  /** When it aborts before the mail is handed over, nothing is sent. */
  readonly signal?: AbortSignal;
}

export interface OutboxCount {
  /** Different mails. */
  readonly sent: number;
  /** How often one of them was sent again. */
  readonly duplicates: number;
}

const FROM = { name: 'The Tandem shop', address: 'shop@shop.example' };
const MAIL_SUFFIX = '.eml';
const REPEATS = 'repeats.log';
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/;

/**
 * Stands for a mail server: writes each mail as a file of the outbox folder. A mail sent again takes the place of the first
 * and leaves a line in `repeats.log`, so duplicates can be counted after any crash.
 */
@Injectable()
export class Mailer implements OnModuleInit {
  private readonly transport: Transporter<SentMessageInfo> = createTransport({ streamTransport: true, buffer: true, newline: 'windows' });

  constructor(private readonly outboxDir: string) {}

  /** Told at the start, not by the first mail. @throws SHOP_OUTBOX_UNUSABLE */
  async onModuleInit(): Promise<void> {
    try {
      await mkdir(this.outboxDir, { recursive: true });
      await access(this.outboxDir, constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new ShopError('SHOP_OUTBOX_UNUSABLE', `The outbox ${this.outboxDir} is no folder that this user may write to (${code})`, { folder: this.outboxDir });
    }
  }

  /** @throws the file system's error, and the signal's reason when it was aborted */
  async send(mail: Mail): Promise<void> {
    const name = fileName(mail.idempotencyKey);
    const { message } = (await this.transport.sendMail({
      from: FROM,
      to: { ...mail.to },
      subject: mail.subject,
      text: mail.text,
      messageId: `<${name}@shop.example>`,
    })) as { message: Buffer };
    mail.signal?.throwIfAborted();
    await this.handOver(name, message);
  }

  async count(): Promise<OutboxCount> {
    const [files, repeats] = await Promise.all([present(readdir(this.outboxDir)), present(readFile(join(this.outboxDir, REPEATS), 'utf8'))]);
    return { sent: (files ?? []).filter((name) => name.endsWith(MAIL_SUFFIX)).length, duplicates: (repeats ?? '').split('\n').length - 1 };
  }

  /** The file appears whole, by one step of the file system: a process killed on the way leaves no half mail. */
  private async handOver(name: string, message: Buffer): Promise<void> {
    await mkdir(this.outboxDir, { recursive: true });
    const target = join(this.outboxDir, `${name}${MAIL_SUFFIX}`);
    const draft = join(this.outboxDir, `.${name}.${process.pid}.${Math.random().toString(36).slice(2)}`);
    await writeFile(draft, message);
    try {
      await link(draft, target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      await appendFile(join(this.outboxDir, REPEATS), `${name}\n`);
      await rename(draft, target);
    } finally {
      await rm(draft, { force: true });
    }
  }
}

const fileName = (key: string): string => (FILE_NAME.test(key) ? key : createHash('sha256').update(key).digest('hex'));

async function present<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
