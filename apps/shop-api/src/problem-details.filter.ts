import { type ArgumentsHost, Catch, type ExceptionFilter, Injectable, Logger } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { MessageContext } from 'nest-tandem';
import { problemOf } from './problem-details.js';

/** Answers every error as `application/problem+json`; what is our fault goes to the log, with the id that the answer carries. */
@Catch()
@Injectable()
export class ProblemDetailsFilter implements ExceptionFilter {
  private readonly logger = new Logger('HTTP');

  constructor(
    private readonly adapterHost: HttpAdapterHost,
    private readonly context: MessageContext,
  ) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const { httpAdapter } = this.adapterHost;
    const http = host.switchToHttp();
    const response = http.getResponse<unknown>();
    const { correlationId } = this.context.ofRequest(http.getRequest<object>());
    const problem = { ...problemOf(error), correlationId };
    if (problem.status >= 500) {
      this.logger.error(
        `${problem.status} ${problem.code}, correlation id ${correlationId}: ${String(error)}`,
        problem.status === 500 && error instanceof Error ? error.stack : undefined,
      );
    }
    if (httpAdapter.isHeadersSent(response)) {
      httpAdapter.end(response);
      return;
    }
    if (problem.status === 503) httpAdapter.setHeader(response, 'Retry-After', '1');
    httpAdapter.setHeader(response, 'Content-Type', 'application/problem+json; charset=utf-8');
    httpAdapter.reply(response, JSON.stringify(problem), problem.status);
  }
}
