import { ConsoleLogger, type LogLevel as NestLevel } from '@nestjs/common';
import type { LogLevel } from './environment.js';

const LEVELS: Readonly<Record<LogLevel, NestLevel[]>> = {
  error: ['error', 'fatal'],
  warn: ['error', 'fatal', 'warn'],
  info: ['error', 'fatal', 'warn', 'log'],
  debug: ['error', 'fatal', 'warn', 'log', 'debug', 'verbose'],
};
/** Nest's own account of its start: forty lines before the one that matters. */
const BOOT_CONTEXTS = new Set(['NestFactory', 'InstanceLoader', 'RoutesResolver', 'RouterExplorer', 'NestApplication']);

/** Nest's console logger at our level; how Nest puts itself together shows on `debug` only. Everything goes to stderr: stdout belongs to results. */
export class ShopLogger extends ConsoleLogger {
  constructor(private readonly level: LogLevel) {
    super({ logLevels: LEVELS[level], prefix: 'shop' });
  }

  override log(message: unknown, ...rest: unknown[]): void {
    if (this.level !== 'debug' && BOOT_CONTEXTS.has(String(rest.at(-1)))) return;
    super.log(message, ...(rest as [string]));
  }

  protected override printMessages(...[messages, context, level, , stack, params]: Parameters<ConsoleLogger['printMessages']>): void {
    super.printMessages(messages, context, level, 'stderr', stack, params);
  }
}
