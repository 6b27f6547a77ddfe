import { ValidationPipe } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import helmet from 'helmet';
import { InvalidRequest } from './invalid-request.js';
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
  const description = new DocumentBuilder()
    .setTitle('Tandem shop')
    .setDescription('Every write answers with a `Consistency-Token`; a GET that sends it back sees the write.')
    .setVersion('0.1.0')
    .addGlobalParameters({ name: 'Consistency-Token', in: 'header', required: false, schema: { type: 'string' } })
    .build();
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, description));
}
