import { describe, expect, it } from 'vitest';
import { readInvoiceLines } from './invoice-file.js';
import type { InvoiceLine } from './invoice-line.js';

const HEADER = 'InvoiceNo,InvoiceDate,CustomerID,Country,Quantity,UnitPrice';

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(text: string | Uint8Array, size = 1_000): Promise<InvoiceLine[]> {
  const found: InvoiceLine[] = [];
  for await (const line of readInvoiceLines(inChunks(Buffer.from(text), size))) found.push(line);
  return found;
}

describe('readInvoiceLines', () => {
  it('numbers lines as an editor does', async () => {
    expect(await read(`${HEADER}\n1,a\n2,b\n`)).toEqual([
      { line: 2, cells: ['1', 'a'] },
      { line: 3, cells: ['2', 'b'] },
    ]);
  });

  it.each([1, 2, 3, 7, 1_000])('reads the same from chunks of %i bytes', async (size) => {
    expect(await read(`\ufeff${HEADER}\r\n600001,"Côte d'Ivoire, the ""Ivory"" Coast"\r\nlast,línea`, size)).toEqual([
      { line: 2, cells: ['600001', `Côte d'Ivoire, the "Ivory" Coast`] },
      { line: 3, cells: ['last', 'línea'] },
    ]);
  });

  it('lets a quote that is never closed spoil its own line only', async () => {
    expect(await read(`${HEADER}\n600001,"open,1\n600002,b\n600003,a"b,1\n`)).toEqual([
      { line: 2, cells: ['600001'] },
      { line: 3, cells: ['600002', 'b'] },
      { line: 4, cells: ['600003'] },
    ]);
  });

  it('reads the number of a line with broken quotes, quoted or not', async () => {
    expect(await read(`${HEADER}\n"600001",a,"open,1\n"600002,a\n`)).toEqual([
      { line: 2, cells: ['600001'] },
      { line: 3, cells: ['"600002'] },
    ]);
  });

  it('loses no empty line', async () => {
    expect(await read(`${HEADER}\n\nx`)).toEqual([
      { line: 2, cells: [''] },
      { line: 3, cells: ['x'] },
    ]);
  });

  it.each([
    ['nothing', ''],
    ['no header', '536365,12/1/2010 8:26,17850,United Kingdom,40,3.91\n'],
    ['columns in another order', 'InvoiceDate,InvoiceNo,CustomerID,Country,Quantity,UnitPrice\n'],
    ['a file without lines', Buffer.alloc(200_000)],
  ])('refuses %s', async (_, text) => {
    await expect(read(text)).rejects.toMatchObject({ code: 'SHOP_FILE_INVALID' });
  });
});
