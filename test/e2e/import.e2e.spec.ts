import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { importStages, type ImportStage } from './import-stages.js';
import { invoiceFile, type Sums } from './invoices.js';
import type { Exit, ShopProcess } from './shop-process.js';

const LINES = 700;
const PATIENCE = 600_000;
const file = invoiceFile(20_110_131, LINES);
const ORDERS = file.summary.placed;

type Summary = typeof file.summary;
const summaryOf = ({ stdout }: Exit): Summary => JSON.parse(stdout) as Summary;
const sums = (rows: readonly Record<string, unknown>[]): Record<string, Sums> =>
  Object.fromEntries(rows.map(({ name, orders, returns, net }) => [String(name), { orders: Number(orders), returns: Number(returns), net: String(net) }]));

describe.each(importStages())('the import on $name', (plan) => {
  let stage: ImportStage;
  let csv: string;
  beforeEach(async () => {
    stage = await plan.open();
    csv = join(stage.folder, 'invoices.csv');
    await writeFile(csv, file.text);
  }, PATIENCE);
  afterEach(() => stage?.end(), PATIENCE);

  const importFile = (...more: string[]) => stage.import(csv, '--json', '--rejects', 'rejects.csv', ...more);
  const rejects = async () => (await readFile(join(stage.folder, 'rejects.csv'), 'utf8').catch(() => '')).trimEnd().split('\n');

  /** What the shop must look like after the file, however often and however roughly it was imported. */
  async function expectEndState(): Promise<void> {
    await stage.settled();
    const [countries, customers, counts] = await stage.rows(
      'SELECT country AS name, orders, returns, net_sales AS net FROM shop_country_sales',
      'SELECT customer_id AS name, orders, returns, spent AS net FROM shop_customer_spending',
      `SELECT (SELECT COUNT(*) FROM shop_order) AS orders, (SELECT COUNT(*) FROM shop_return) AS returns,
              (SELECT COUNT(*) FROM shop_order_view) AS views, (SELECT COUNT(*) FROM tandem_event) AS events`,
    );
    expect(sums(countries!)).toEqual(file.byCountry);
    expect(sums(customers!)).toEqual(file.byCustomer);
    const written = Object.entries(counts![0]!).map(([name, count]) => [name, Number(count)]);
    expect(Object.fromEntries(written)).toEqual({ orders: ORDERS, returns: file.summary.returned, views: ORDERS, events: file.documents });
    expect((await stage.mailedOrders()).toSorted()).toEqual(file.mailed.toSorted());
  }

  async function expectDone(running: ShopProcess): Promise<Summary> {
    const exit = await running.exit;
    expect(exit, exit.stderr).toMatchObject({ code: 0 });
    return summaryOf(exit);
  }

  /** The import has come to this part of the file: rejects are written as it goes. */
  const until = (part: number) => expect.poll(async () => Number.parseInt((await rejects()).at(-1)!, 10), { timeout: PATIENCE, interval: 20 }).toBeGreaterThanOrEqual(part * LINES);

  it(
    'counts every line once, names every reject, and adds up to what the file says; a second time changes nothing',
    async () => {
      expect(await expectDone(importFile())).toEqual(file.summary);
      expect((await rejects()).toSorted()).toEqual(['line,reason', ...file.rejects].toSorted());
      await expectEndState();

      const all = file.documents + file.summary.already_imported;
      expect(await expectDone(importFile())).toEqual({ ...file.summary, placed: 0, returned: 0, already_imported: all });
      expect((await rejects()).toSorted()).toEqual(['line,reason', ...file.rejects].toSorted());
      await expectEndState();
    },
    PATIENCE,
  );

  it(
    'comes to the same end when kill -9 hits the import and, twice, a worker, and the queues are wiped',
    async () => {
      const first = importFile('--concurrency', '4');
      await until(0.1);
      if (stage.hasWorkers) await stage.killWorker(0);
      await until(0.2);
      await stage.wipeQueues?.();
      await until(0.3);
      first.signal('SIGKILL');
      expect(await first.exit).toMatchObject({ code: null, stdout: '' });

      await stage.workersRun();
      const second = importFile('--concurrency', '4');
      if (stage.hasWorkers) {
        await until(0.6);
        await stage.killWorker(1);
      } else {
        // This process is the worker too, once everything is written.
        await expect.poll(() => second.stderr, { timeout: PATIENCE, interval: 20 }).toContain('reading');
        second.signal('SIGKILL');
        const killed = await second.exit;
        expect([killed.code, summaryOf(killed).rejected]).toEqual([null, file.summary.rejected]); // printed before the read side is brought up to date
      }

      const { placed, returned, already_imported, rejected } = await expectDone(stage.hasWorkers ? second : importFile());
      expect(placed + returned + already_imported).toBe(file.documents + file.summary.already_imported);
      expect(already_imported).toBeGreaterThan(file.summary.already_imported);
      expect(rejected).toEqual(file.summary.rejected);
      await expectEndState();
    },
    PATIENCE,
  );
});
