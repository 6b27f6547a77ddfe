/** An invoice file whose lines know what should become of them: nothing here asks the shop. */
import { Dice } from '../support/dice.js';
import { fourPlaces, tenThousandths } from './ten-thousandths.js';

export const HEADER = 'InvoiceNo,InvoiceDate,CustomerID,Country,Quantity,UnitPrice';

export interface Sums {
  readonly orders: number;
  readonly returns: number;
  /** Decimal text with 4 places. */
  readonly net: string;
}

export interface InvoiceFile {
  readonly text: string;
  /** Lines that write something. */
  readonly documents: number;
  /** As the import's `--json` of a run on an empty shop. */
  readonly summary: { readonly placed: number; readonly returned: number; readonly already_imported: number; readonly rejected: Readonly<Record<string, number>> };
  /** `line,reason` */
  readonly rejects: readonly string[];
  readonly byCountry: Readonly<Record<string, Sums>>;
  readonly byCustomer: Readonly<Record<string, Sums>>;
  /** Orders of customers with a number: each gets a mail. */
  readonly mailed: readonly string[];
}

type Fate = 'order' | 'return' | 'repeat' | 'duplicate_invoice' | 'not_an_invoice' | 'non_positive_quantity' | 'malformed';

interface Row {
  readonly number: string;
  readonly date: string;
  readonly customer: string;
  readonly country: string;
  readonly quantity: string;
  readonly price: string;
}

// Cases, accents and commas: what a database that compares loosely, or a split at commas, would put together.
const COUNTRIES = ['United Kingdom', 'France', 'FRANCE', 'Germany', 'EIRE', 'Korea, Republic of', "Côte d'Ivoire", "Cote d'Ivoire", 'Unspecified'] as const;
const CUSTOMERS = ['17850', '13047', '12583', 'ab', 'AB', 'Ab_9', ...Array.from({ length: 30 }, (_, n) => String(14_000 + n * 7))] as const;
const NO_CUSTOMER = '(blank)';
// The last one times a million pieces is more ten-thousandths than a double can count.
const PRICES = ['0', '0.0001', '1.85', '3.9', '4.775', '4.8533', '11062.06', '0.1', '0.2', '999999.9999'] as const;

const NOT_INVOICES: readonly Partial<Row>[] = [{ number: 'A563185' }, { number: '53636' }, { number: '5363650' }, { number: 'c536379' }, { number: '' }, { number: 'C53637' }];
const NON_POSITIVE: readonly Partial<Row>[] = [
  { quantity: '0' },
  { quantity: '-3' },
  { quantity: '-1', price: '-1' },
  { quantity: '-1.5' },
  { quantity: '0.00' },
  { quantity: '-9999999999' },
];
const MALFORMED: readonly Partial<Row>[] = [
  ...[{ price: '-0.01' }, { price: '1.00001' }, { price: '1e3' }, { price: '' }, { quantity: '1.5' }, { quantity: 'many' }],
  ...[{ date: '13/1/2010 8:26' }, { date: '2/29/2011 8:26' }, { date: '1/2/2011 24:00' }, { date: '2011-01-02 08:00' }],
  ...[{ customer: '' }, { customer: 'no body' }, { country: '' }],
];
const MALFORMED_RETURNS: readonly Partial<Row>[] = [{ quantity: '1' }, { quantity: '0' }, { price: '-1' }];

/** The same file for the same seed. */
export function invoiceFile(seed: number, lines: number): InvoiceFile {
  return new Writer(seed).write(lines);
}

class Writer {
  private readonly lines: string[] = [HEADER];
  private readonly counts = new Map<Fate, number>();
  private readonly rejects: string[] = [];
  private readonly accepted: Row[] = [];
  private lastNumber = 600_000;

  private readonly dice: Dice;

  constructor(seed: number) {
    this.dice = new Dice(seed);
  }

  write(lines: number): InvoiceFile {
    // Every kind of bad line at least once, then a mixture.
    for (let n = 0; n < Math.max(NOT_INVOICES.length, NON_POSITIVE.length, MALFORMED.length); n++) {
      this.bad('not_an_invoice', NOT_INVOICES[n % NOT_INVOICES.length]!);
      this.bad('non_positive_quantity', NON_POSITIVE[n % NON_POSITIVE.length]!);
      this.bad('malformed', MALFORMED[n % MALFORMED.length]!);
      this.badReturn(MALFORMED_RETURNS[n % MALFORMED_RETURNS.length]!);
      this.good();
    }
    while (this.lines.length <= lines) this.any();
    return this.file();
  }

  private any(): void {
    const die = this.dice.below(100);
    if (die < 78) this.good();
    else if (die < 83) this.repeated();
    else if (die < 87) this.duplicate();
    else if (die < 91) this.bad('malformed', this.dice.pick(MALFORMED));
    else if (die < 94) this.bad('non_positive_quantity', this.dice.pick(NON_POSITIVE));
    else if (die < 97) this.bad('not_an_invoice', this.dice.pick(NOT_INVOICES));
    else this.brokenQuote();
  }

  private good(): void {
    const row = this.dice.below(6) === 0 ? this.salesReturn() : this.order();
    this.put(row.number.startsWith('C') ? 'return' : 'order', row);
    this.accepted.push(row);
  }

  /** The same content, at times with its price written in another way. */
  private repeated(): void {
    const row = this.dice.pick(this.accepted);
    this.put('repeat', { ...row, price: this.dice.below(2) === 0 ? row.price : fourPlaces(tenThousandths(row.price)) });
  }

  /** Of a recent line as well: its command may still be on its way. */
  private duplicate(): void {
    const row = this.dice.below(2) === 0 ? this.accepted.at(-1)! : this.dice.pick(this.accepted);
    this.put('duplicate_invoice', { ...row, ...this.dice.pick([{ date: '3/3/2012 3:03' }, { country: 'Elsewhere' }, { customer: '99999' }, { price: '77.7777' }]) });
  }

  /** A number that was rejected may come again and be right. */
  private bad(fate: Fate, wrong: Partial<Row>): void {
    const row = this.order();
    this.put(fate, { ...row, ...wrong });
    if (this.dice.below(4) !== 0) return;
    this.put('order', row);
    this.accepted.push(row);
  }

  private badReturn(wrong: Partial<Row>): void {
    this.put('malformed', { ...this.salesReturn(), ...wrong });
  }

  private brokenQuote(): void {
    this.put('malformed', this.order(), (row) => `${row.number},${row.date},${row.customer},"${row.country},${row.quantity},${row.price}`);
  }

  private order(): Row {
    this.lastNumber += 1;
    return {
      number: String(this.lastNumber),
      date: `${1 + this.dice.below(12)}/${1 + this.dice.below(28)}/2011 ${this.dice.below(24)}:${String(this.dice.below(60)).padStart(2, '0')}`,
      customer: this.dice.below(5) === 0 ? NO_CUSTOMER : this.dice.pick(CUSTOMERS),
      country: this.dice.pick(COUNTRIES),
      quantity: String(this.dice.below(40) === 0 ? 1_000_000 : 1 + this.dice.below(300)),
      price: this.dice.pick(PRICES),
    };
  }

  private salesReturn(): Row {
    const row = this.order();
    return { ...row, number: `C${row.number}`, quantity: `-${row.quantity}` };
  }

  private put(fate: Fate, row: Row, written = textOf): void {
    this.lines.push(written(row));
    this.counts.set(fate, (this.counts.get(fate) ?? 0) + 1);
    if (fate !== 'order' && fate !== 'return' && fate !== 'repeat') this.rejects.push(`${this.lines.length},${fate}`);
  }

  private file(): InvoiceFile {
    const count = (fate: Fate) => this.counts.get(fate) ?? 0;
    const orders = this.accepted.filter((row) => !isReturn(row));
    return {
      text: `${this.lines.join('\n')}\n`,
      documents: this.accepted.length,
      summary: {
        placed: count('order'),
        returned: count('return'),
        already_imported: count('repeat'),
        rejected: Object.fromEntries((['not_an_invoice', 'non_positive_quantity', 'malformed', 'duplicate_invoice'] as const).map((fate) => [fate, count(fate)])),
      },
      rejects: this.rejects,
      byCountry: sumsBy(this.accepted, ({ country }) => country),
      byCustomer: sumsBy(this.accepted.filter(isKnown), ({ customer }) => customer),
      mailed: orders.filter(isKnown).map(({ number }) => number),
    };
  }
}

const isReturn = ({ number }: Row): boolean => number.startsWith('C');
const isKnown = ({ customer }: Row): boolean => customer !== NO_CUSTOMER;
const quoted = (cell: string): string => (cell.includes(',') ? `"${cell}"` : cell);
const textOf = (row: Row): string => [row.number, row.date, row.customer, quoted(row.country), row.quantity, row.price].join(',');

function sumsBy(rows: readonly Row[], key: (row: Row) => string): Record<string, Sums> {
  const sums = new Map<string, { orders: number; returns: number; net: bigint }>();
  for (const row of rows) {
    const sum = sums.get(key(row)) ?? { orders: 0, returns: 0, net: 0n };
    sum[isReturn(row) ? 'returns' : 'orders'] += 1;
    sum.net += BigInt(row.quantity) * tenThousandths(row.price); // a return's quantity is negative
    sums.set(key(row), sum);
  }
  return Object.fromEntries([...sums].map(([name, { net, ...counts }]) => [name, { ...counts, net: fourPlaces(net) }]));
}
