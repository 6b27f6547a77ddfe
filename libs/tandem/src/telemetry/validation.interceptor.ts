import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { TandemError } from '../kernel/errors.js';
import { describedMessage } from './described-message.js';
import { violationsOf } from './violations.js';

/**
 * Checks messages before their handler sees them: with the decorators of class-validator where their class has some, and with the
 * schema of `@ValidateWith`.
 * @throws TANDEM_VALIDATION with every violation at once in `data.violations`, each `{ path, message }`.
 */
@Injectable()
export class ValidationInterceptor implements NestInterceptor {
  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const described = describedMessage(context);
    if (!described) return next.handle();
    const violations = await violationsOf(described.message);
    if (violations.length > 0) {
      const fields = [...new Set(violations.map(({ path }) => path || 'the message'))].join(', ');
      throw new TandemError('TANDEM_VALIDATION', `${described.type} is not valid: ${fields}`, { data: { violations } });
    }
    return next.handle();
  }
}
