import { type GivenDocument, totalOf } from 'shop';

const CUSTOMERS = 50;
const PLACES = ['Chile', 'France', 'India', 'Norway'] as const;

/** What keeps one run of the demo apart from everything else in the same database. */
export const orderId = (run: string, number: number): string => `${run}-${number}`;
export const countries = (run: string): readonly string[] => PLACES.map((place) => `${place} (${run})`);

/** Order `number` of a run: the same whoever asks, so that it can be sent again. */
export function demoOrder(run: string, number: number): GivenDocument {
  return {
    id: orderId(run, number),
    customerId: `${run}-c${number % CUSTOMERS}`,
    country: countries(run)[number % PLACES.length]!,
    at: new Date(Date.UTC(2026, 0, 1) + number * 60_000).toISOString(),
    lines: [{ sku: 'TEAPOT-7', quantity: 1 + (number % 5), unitPrice: `${(number * 37) % 100}.${String((number * 7_919) % 10_000).padStart(4, '0')}` }],
  };
}

/** Exact sum of these orders, from what was sent. */
export const totalSent = (run: string, numbers: Iterable<number>): string =>
  totalOf(
    [...numbers].flatMap((number) => demoOrder(run, number).lines),
    'total',
  );
