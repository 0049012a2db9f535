// The header Idempotency-Key of creating calls.
import type { FastifyRequest } from 'fastify';
import type { KeyUse } from '../management/idempotency-keys.ts';
import type { Management } from '../management/index.ts';
import { BadRequest } from './problem.ts';

const MAX_KEY_CHARS = 255;

/** Runs it, unless a call with the same key did. @throws BadRequest, ManagementError 'key-reused' */
export function once<T>({ idempotencyKeys }: Management, { headers, caller, routeOptions }: FastifyRequest, { request, run }: KeyUse<T>): Promise<T> {
  const key = headers['idempotency-key'];
  if (key === undefined) return run();
  if (typeof key !== 'string' || key === '' || key.length > MAX_KEY_CHARS) throw new BadRequest('bad-request', `the idempotency key has to have 1 to ${MAX_KEY_CHARS} characters`);
  return idempotencyKeys.once(key, { request: { route: routeOptions.url, who: caller.who, request }, run });
}
