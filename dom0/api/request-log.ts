// Each request has an id, which its answer and every log line of the work it begins carry. Changes are logged themselves.
import type { FastifyInstance } from 'fastify';
import { within } from '../log-context.ts';
import type { Log } from '../toolstack/ports.ts';
import { onOutcome } from './outcome.ts';

const MAX_URL_CHARS = 512;

/** To be called before any other hook is added. */
export function logRequests(api: FastifyInstance, log: Log | undefined): void {
  api.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    within({ request: request.id }, done);
  });
  onOutcome(api, (request, reply) => {
    log?.info({ request: request.id, who: request.caller?.who, method: request.method, url: request.url.slice(0, MAX_URL_CHARS), status: reply.statusCode, ms: Math.round(reply.elapsedTime) }, 'request');
  });
}
