/** Below MySQL's packet limit (16 MiB on MariaDB, escaping may double a text) and PostgreSQL's 65,535 parameters. */
const MAX_ROWS = 1_000;
const MAX_BYTES = 4 * 1024 * 1024;

/** Rows for one INSERT each, in order. A single row over the byte limit goes alone. */
export function insertChunks<T>(rows: readonly T[], bytesOf: (row: T) => number): T[][] {
  const chunks: T[][] = [];
  let room = 0;
  for (const row of rows) {
    const bytes = bytesOf(row);
    const chunk = chunks.at(-1);
    if (!chunk || chunk.length === MAX_ROWS || bytes > room) {
      chunks.push([row]);
      room = MAX_BYTES - bytes;
    } else {
      chunk.push(row);
      room -= bytes;
    }
  }
  return chunks;
}

/** At most `size` values each: MariaDB turns an `IN` of a thousand values into a join with a table of them. */
export function slices<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) => values.slice(i * size, (i + 1) * size));
}
