import { Body, Controller, Get, Headers, HttpCode, Post, Res, UseGuards } from '@nestjs/common';
import { reportText, type PerformanceReport } from '../telemetry/performance-report.js';
import { OpsGuards } from './ops-guards.js';
import { OpsService, type OpsStatus, type RetriedStreams } from './ops-service.js';

/** The part of an Express or Fastify answer that is used here. */
interface Answer {
  header(name: string, value: string): unknown;
}

@Controller()
@UseGuards(OpsGuards)
export class OpsController {
  constructor(private readonly ops: OpsService) {}

  /** Text, unless the caller asks for JSON. */
  @Get('report')
  report(@Headers('accept') accept: string | undefined, @Res({ passthrough: true }) answer: Answer): PerformanceReport | string {
    const report = this.ops.report();
    answer.header('Cache-Control', 'no-store');
    answer.header('Vary', 'Accept');
    if (prefersJson(accept)) return report;
    answer.header('Content-Type', 'text/plain; charset=utf-8');
    return `${reportText(report)}\n`;
  }

  @Get('status')
  status(@Res({ passthrough: true }) answer: Answer): Promise<OpsStatus> {
    answer.header('Cache-Control', 'no-store');
    return this.ops.status();
  }

  @Post('dead-letters/retry')
  @HttpCode(200)
  retry(@Body() request: unknown): Promise<RetriedStreams> {
    return this.ops.retryDeadLetters(request);
  }
}

/** Whichever of the two is named first; text for `*\/*` and for browsers. */
function prefersJson(accept = ''): boolean {
  const first = /application\/json|text\/(plain|html|\*)/i.exec(accept)?.[0];
  return first?.toLowerCase() === 'application/json';
}
