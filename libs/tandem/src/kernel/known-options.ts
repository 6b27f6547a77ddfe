import { closest } from 'fastest-levenshtein';
import { TandemError } from './errors.js';

/** For messages: that `of` has no such option, and which one may have been meant. */
export const noSuchOption = (of: string, name: string, known: readonly string[]): string =>
  `there is no option \`${name}\` of ${of}; ${known.length > 0 ? `the nearest is \`${closest(name, known)}\`` : 'it has none'}`;

/** The options that were given; one that is undefined counts as left out, so that it does not hide a default. @throws TANDEM_WIRING for an unknown one. */
export function knownOptions<T extends object>(of: string, given: T, known: Readonly<Record<keyof T, true>>): T {
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  const stranger = set.find(([name]) => !Object.hasOwn(known, name));
  if (stranger) throw new TandemError('TANDEM_WIRING', noSuchOption(of, stranger[0], Object.keys(known)));
  return Object.fromEntries(set) as T;
}
