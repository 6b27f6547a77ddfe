const ESCAPE = '!';

/** The text that a user is found by. */
export const searchable = (user: { readonly name: string; readonly email: string }): string => lower(`${user.name}\n${user.email}`);

/** A LIKE pattern, for `ESCAPE '!'`, that finds the words anywhere in {@link searchable}. */
export const searchPattern = (words: string): string => `%${lower(words.trim()).replace(/[!%_]/g, (sign) => ESCAPE + sign)}%`;

const lower = (text: string): string => text.normalize('NFC').toLowerCase();
