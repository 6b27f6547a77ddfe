const MAX_TEXT = 1_000;

/** A message for an operator, as a column of 1,000 characters takes it. PostgreSQL refuses NUL. */
export const shortText = (text: string): string =>
  text
    .replaceAll('\0', '')
    .slice(0, MAX_TEXT)
    .replace(/[\uD800-\uDBFF]$/, ''); // half of a character that was cut in two
