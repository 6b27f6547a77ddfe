import type { OutboxCount } from 'shop';
import type { Sum, Sums } from './demo-messages.js';

export interface DemoResults extends Sums {
  /** Counted by the demo itself, from the answers of the command bus. */
  readonly acknowledged: Sum;
  readonly kills: number;
  readonly wipes: number;
  readonly seconds: number;
}

/** The end of the demo: the same two numbers from sides that do not know of each other, and what became of the mails. */
export function comparison({ acknowledged, views, sales, log, kills, wipes, seconds, mails }: DemoResults & { readonly mails: OutboxCount }): { text: string; agrees: boolean } {
  const sides: readonly (readonly [string, Sum])[] = [
    ['commands acknowledged', acknowledged],
    ['read entities, a row an order (OrderView)', views],
    ['read entities, sums by country (CountrySales)', sales],
    ['events on the log', log],
  ];
  const agrees = sides.every(([, { orders, total }]) => orders === acknowledged.orders && total === acknowledged.total);
  const mailed = mails.sent === acknowledged.orders;
  const rows = sides.map(([name, { orders, total }]) => `${name.padEnd(48)}${orders.toLocaleString('en').padStart(8)}${total.padStart(18)}`);
  return {
    agrees: agrees && mailed,
    text: [
      '',
      `${seconds.toFixed(0)} s, ${kills} times kill -9, ${wipes} time the queue wiped:`,
      '',
      `${''.padEnd(48)}${'orders'.padStart(8)}${'total'.padStart(18)}`,
      ...rows,
      '',
      agrees ? 'All sides agree: effects in SQL happened exactly once.' : 'THE SIDES DO NOT AGREE.',
      '',
      `${mails.sent.toLocaleString('en')} different mails for ${acknowledged.orders.toLocaleString('en')} orders${mailed ? '' : mails.sent < acknowledged.orders ? ': MAILS ARE MISSING' : ': THERE ARE TOO MANY'}; ${mails.duplicates} sent a second time.`,
      'Mails leave SQL, so they go out at least once: one that was sent when its process was killed, before that was noted,',
      'goes out again, under the same Message-ID.',
      '',
    ].join('\n'),
  };
}
