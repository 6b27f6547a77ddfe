/** A process that is killed while it handles a command with an id, and whoever sends that command again. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { CommandBus } from '@nestjs/cqrs';
import { DataSource } from 'typeorm';
import { afterEach, expect, it } from 'vitest';
import { Idempotency } from 'nest-tandem';
import { bankPlace, type BankPlace } from '../support/bank-application.js';
import { describeServers, sqlServers } from '../support/backends.js';
import { Note, startNotes, TakeNote } from '../support/dying-command.js';

const support = (name: string) => fileURLToPath(new URL(`../support/${name}`, import.meta.url));

describeServers('on $name', sqlServers(), (backend) => {
  let place: BankPlace;
  afterEach(() => place.remove());

  it.each([
    ['before it could commit: the repeat has the effect', 'written'],
    ['when it had committed and not answered: the repeat is answered as the first would have been', 'committed'],
  ] as const)('killed %s', { timeout: 120_000 }, async (_what, when) => {
    place = await bankPlace(backend);
    const { url } = place.database!;
    const jobs = { connection: place.redisUrl ?? { postgres: url }, queuePrefix: place.queuePrefix };
    const app = await startNotes(url, jobs);
    try {
      const child = fork(support('run-typescript.mjs'), [support('dying-command.ts'), url, JSON.stringify(jobs), 'note', when], { execArgv: [] });
      const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
      expect(signal).toBe('SIGKILL');
      const notes = app.get(DataSource).getRepository(Note);
      if (when === 'committed') expect(await notes.find()).toEqual([{ id: 'note', count: 1 }]);
      const answers = await Promise.all(Array.from({ length: 3 }, () => app.get(CommandBus).execute(new TakeNote('note'), Idempotency.key('note'))));
      expect(answers).toEqual([{ id: 'note' }, { id: 'note' }, { id: 'note' }]);
      expect(await notes.find()).toEqual([{ id: 'note', count: 1 }]);
      expect(await app.get(DataSource).query("SELECT version FROM tandem_event WHERE stream = 'note-note'")).toEqual([{ version: 1 }]);
    } finally {
      await app.close();
    }
  });
});
