import { parse } from 'csv-parse/sync';
import { ShopError } from '../shop-error.js';
import type { InvoiceLine } from './invoice-line.js';
import { INVOICE_COLUMNS } from './invoice-line.js';

/** No invoice line comes near; a file without line ends is not read into memory whole. */
const LONGEST_LINE = 64 * 1024;

const QUOTED = /^"([^"]*)"$/;

/**
 * The lines of an invoice file after its header. Each line is parsed by itself, so that a quote that is never closed spoils its
 * own line and not the rest of the file. UTF-8, with or without a byte order mark.
 * @throws SHOP_FILE_INVALID for another header, or for what is no text file
 */
export async function* readInvoiceLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<InvoiceLine> {
  let line = 0;
  for await (const text of textLines(chunks)) {
    line += 1;
    const cells = cellsOf(text);
    if (line === 1) checkHeader(cells);
    else yield { line, cells };
  }
  if (line === 0) throw new ShopError('SHOP_FILE_INVALID', 'the file is empty');
}

async function* textLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8');
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines.map(withoutReturn);
    if (rest.length > LONGEST_LINE) throw new ShopError('SHOP_FILE_INVALID', `a line is longer than ${LONGEST_LINE} characters`);
  }
  rest += decoder.decode();
  if (rest !== '') yield withoutReturn(rest);
}

const withoutReturn = (line: string): string => (line.endsWith('\r') ? line.slice(0, -1) : line);

function cellsOf(text: string): string[] {
  const plain = text.split(',');
  if (!text.includes('"')) return plain;
  try {
    return (parse(text, { relax_column_count: true, record_delimiter: '\n' }) as string[][])[0] ?? [];
  } catch {
    // Broken quotes: with its number alone the rules call the line malformed.
    return plain.slice(0, 1).map((number) => QUOTED.exec(number)?.[1] ?? number);
  }
}

function checkHeader(cells: readonly string[]): void {
  if (cells.join(',') !== INVOICE_COLUMNS.join(',')) throw new ShopError('SHOP_FILE_INVALID', 'the first line is not the header of an invoice file');
}
