import { type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { ValidationPipe } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import helmet from 'helmet';
import { InvalidRequest } from './invalid-request.js';
import { problemOfUnreadable } from './problem-details.js';
import { ProblemDetailsFilter } from './problem-details.filter.js';
import { RequestShapePipe } from './request-shape.pipe.js';

const BODY_LIMIT_BYTES = 1024 * 1024;

/** What every request passes, and Swagger at /docs. */
export function configureHttp(app: NestExpressApplication): void {
  // Swagger's page is served over plain HTTP in development: browsers must not be told to fetch its parts by HTTPS.
  app.use(helmet({ contentSecurityPolicy: { directives: { 'upgrade-insecure-requests': null } }, strictTransportSecurity: false }));
  app.useBodyParser('json', { limit: BODY_LIMIT_BYTES });
  app.useGlobalPipes(
    new RequestShapePipe(),
    new ValidationPipe({ transform: true, whitelist: true, forbidNonWhitelisted: true, exceptionFactory: (errors) => InvalidRequest.of(errors) }),
  );
  app.useGlobalFilters(app.get(ProblemDetailsFilter));
  (app.getHttpServer() as Server).on('clientError', refuseUnreadable);
  const description = new DocumentBuilder()
    .setTitle('Tandem shop')
    .setDescription('Every write answers with a `Consistency-Token`; a GET that sends it back sees the write.')
    .setVersion('0.1.0')
    .addGlobalParameters({ name: 'Consistency-Token', in: 'header', required: false, schema: { type: 'string' } })
    .build();
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, description));
}

/** Node's own answer to headers that are too large, or to what is no HTTP, has no body; the connection ends either way. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = problemOfUnreadable(error.code);
  const body = JSON.stringify(problem);
  const headers = `Content-Type: application/problem+json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close`;
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${headers}\r\n\r\n${body}`);
}
