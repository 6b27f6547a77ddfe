import { Logger } from '@nestjs/common';
import { TandemError } from '../errors.js';

/** All wiring mistakes at once, each a sentence that names both parties. @throws TANDEM_WIRING unless told to warn. */
export function reportWiring(problems: readonly string[], wiringErrors: 'throw' | 'warn'): void {
  if (problems.length === 0) return;
  const heading = problems.length === 1 ? 'The wiring has a mistake' : `The wiring has ${problems.length} mistakes`;
  const error = new TandemError('TANDEM_WIRING', `${heading}:\n${problems.map((problem) => `- ${problem}`).join('\n')}\n`, { data: { problems } });
  if (wiringErrors === 'throw') throw error;
  new Logger('Tandem').warn(error.message);
}
