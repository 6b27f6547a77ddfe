import { applyDecorators } from '@nestjs/common';
import { ApiConflictResponse, ApiHeader } from '@nestjs/swagger';
import { IDEMPOTENCY_KEY_HEADER } from 'nest-tandem';

/** Documents what Tandem does with every write: this header makes it safe to send again. */
export const AcceptsIdempotencyKey = (): ClassDecorator & MethodDecorator =>
  applyDecorators(
    ApiHeader({
      name: IDEMPOTENCY_KEY_HEADER,
      required: false,
      description:
        'Names this request, a UUID for example. Sent again under the same key it changes nothing and is answered as the first time; another request under that key is refused.',
      schema: { type: 'string', minLength: 1, maxLength: 128, pattern: '^[A-Za-z0-9][A-Za-z0-9._:@/+=-]*$' },
    }),
    ApiConflictResponse({ description: 'At odds with what is stored, or the key was used for another request' }),
  );
