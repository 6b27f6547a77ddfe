import { afterEach, expect, it, vi } from 'vitest';
import { type Bank, type BankPlace, bankPlace, startBank } from '../../../../test/support/bank-application.js';
import { Charge, Charged, Open, Opened } from '../../../../test/support/bank.js';
import { describeServers, sqlServers } from '../../../../test/support/backends.js';
import { Projection } from '../read/projection/projection.js';
import { On } from './on.js';

// Applications start slowly on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const seen: string[] = [];

@Projection('spec.changed', { version: 1 })
class Both {
  @On(Opened)
  opened({ accountId }: Opened): void {
    seen.push(`opened ${accountId}`);
  }
  @On(Charged)
  charged({ accountId }: Charged): void {
    seen.push(`charged ${accountId}`);
  }
}

@Projection('spec.changed', { version: 1 })
class OpenedOnly {
  @On(Opened)
  opened({ accountId }: Opened): void {
    seen.push(`opened ${accountId}`);
  }
}

// The embedded default has one process, and its database goes with it.
describeServers('what the code no longer has, on $name', sqlServers(), (backend) => {
  const started: Bank[] = [];
  let place: BankPlace;
  const start = async (settings: Parameters<typeof startBank>[1] = {}): Promise<Bank> => {
    const bank = await startBank(place, settings);
    started.push(bank);
    return bank;
  };
  const said = () => {
    const lines: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
    return lines;
  };
  const stop = async (): Promise<void> => void (await Promise.all(started.splice(0).map(({ app }) => app.close())));
  const begin = async (): Promise<Bank> => {
    seen.length = 0;
    place = await bankPlace(backend);
    return start({ providers: [Both] });
  };
  afterEach(async () => {
    vi.restoreAllMocks();
    await stop();
    await place.remove();
  });

  it('a projection that lost an event type says at the start what to do, and runs once that is done', async () => {
    const first = await begin();
    await first.commands.execute(new Open('a'));
    await first.idle();
    await stop();

    const lines = said();
    await start({ providers: [OpenedOnly] });
    expect(lines.join('')).toContain("retired: { types: { 'spec.changed': ['bank.charged'] } }");
    await stop();

    const last = await start({ providers: [OpenedOnly], retired: { types: { 'spec.changed': ['bank.charged'] } } });
    // Older code beside it registers the type again, and handles nothing here.
    await start({ providers: [Both], role: 'api' });
    await last.commands.execute(new Charge('a', '1'));
    await last.commands.execute(new Open('b'));
    await last.idle();
    expect(seen).toEqual(['opened a', 'opened b']);
    await stop();

    // Said once when the older code is gone, it need not be said for ever.
    await start({ providers: [OpenedOnly], role: 'api', retired: { types: { 'spec.changed': ['bank.charged'] } } });
    const after = await start({ providers: [OpenedOnly] });
    await after.commands.execute(new Open('c'));
    await after.idle();
    expect(seen).toEqual(['opened a', 'opened b', 'opened c']);
  });

  it('older code starts beside newer, whose new consumer and type it does not have', async () => {
    await begin();
    const older = await start({ providers: [OpenedOnly] });
    const without = await start();
    await older.commands.execute(new Open('a'));
    await without.idle();
    expect(seen).toEqual(['opened a']);
  });

  it('a consumer that was registered long ago and vanished refuses the start until it is named', async () => {
    const first = await begin();
    const { dialect } = backend;
    await first.db.query(`UPDATE tandem_consumer SET created_at = created_at - INTERVAL ${dialect === 'mysql' ? '2 DAY' : "'2 days'"} WHERE name = 'spec.changed'`);
    await stop();
    await expect(start()).rejects.toMatchObject({
      code: 'TANDEM_WIRING',
      message: expect.stringContaining("retired: { consumers: ['spec.changed'] }") as string,
    });
    await expect(start({ providers: [Both], retired: { consumers: ['spec.changed'], types: { 'spec.changed': ['bank.opened'], nobody: [] } } })).rejects.toMatchObject({
      data: {
        problems: [
          '`retired` names the consumer "spec.changed", which Both declares',
          '`retired.types` names bank.opened, which Both handles',
          '`retired.types` names "nobody", but there is no such projection or saga',
        ],
      },
    });
    const without = await start({ retired: { consumers: ['spec.changed'] } });
    // Nobody reads for it any more, so nobody waits for it either.
    await without.commands.execute(new Open('a'));
    await without.idle();
    expect(seen).toEqual([]);
  });
});
