import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Mail } from './mailer.js';
import { Mailer } from './mailer.js';

const KEY = '0198c0de-0000-7000-8000-000000000001';
const mail = (changes: Partial<Mail> = {}): Mail => ({
  to: { name: 'Ann', address: 'ann@example.com' },
  subject: 'Order 1',
  text: 'Thank you.\n',
  idempotencyKey: KEY,
  ...changes,
});

describe('Mailer', () => {
  let root: string;
  let outbox: string;
  let mailer: Mailer;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'shop-mailer-'));
    outbox = join(root, 'made', 'by', 'it');
    mailer = new Mailer(outbox);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('writes a mail as a file named by its idempotency key, and nothing else', async () => {
    await mailer.send(mail());
    expect(await readdir(outbox)).toEqual([`${KEY}.eml`]);
    const text = await readFile(join(outbox, `${KEY}.eml`), 'utf8');
    expect(text).toContain('To: Ann <ann@example.com>\r\n');
    expect(text).toContain('Subject: Order 1\r\n');
    expect(text).toContain(`Message-ID: <${KEY}@shop.example>\r\n`);
    expect(text).toContain('\r\n\r\nThank you.\r\n');
  });

  it('counts a mail that is sent again as a duplicate of the one it replaces', async () => {
    expect(await mailer.count()).toEqual({ sent: 0, duplicates: 0 });
    await mailer.send(mail());
    await mailer.send(mail({ idempotencyKey: 'another' }));
    await mailer.send(mail({ text: 'Again.' }));
    await new Mailer(outbox).send(mail());
    expect(await new Mailer(outbox).count()).toEqual({ sent: 2, duplicates: 2 });
  });

  it('counts every repeat when several are sent at once', async () => {
    await Promise.all(Array.from({ length: 20 }, () => mailer.send(mail())));
    expect(await mailer.count()).toEqual({ sent: 1, duplicates: 19 });
  });

  it('keeps a key that is no file name inside the outbox', async () => {
    await mailer.send(mail({ idempotencyKey: '../../escaped' }));
    expect(await readdir(root)).toEqual(['made']);
    expect(await mailer.count()).toEqual({ sent: 1, duplicates: 0 });
  });

  it('puts no second header into a mail, whatever a name contains', async () => {
    await mailer.send(mail({ to: { name: 'Ann\r\nBcc: eve@example.com', address: 'ann@example.com' }, subject: 'x\r\nBcc: eve@example.com' }));
    expect(await readFile(join(outbox, `${KEY}.eml`), 'utf8')).not.toMatch(/^Bcc:/m);
  });

  it('makes its outbox when the application starts, and refuses one that is a file', async () => {
    await mailer.onModuleInit();
    expect(await readdir(outbox)).toEqual([]);
    const file = join(root, 'file');
    await writeFile(file, '');
    for (const place of [file, join(file, 'below')])
      await expect(new Mailer(place).onModuleInit()).rejects.toMatchObject({ code: 'SHOP_OUTBOX_UNUSABLE', message: expect.stringContaining(place) as string });
  });

  it('sends nothing once its time is up', async () => {
    await expect(mailer.send(mail({ signal: AbortSignal.abort(new Error('too late')) }))).rejects.toThrow('too late');
    expect(await mailer.count()).toEqual({ sent: 0, duplicates: 0 });
  });
});
