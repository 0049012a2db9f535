// /v1/host: the machine, its console ring, debug keys.
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { validated } from './problem.ts';
import type { ApiContext } from './server.ts';

const debugKeys = z.strictObject({ keys: z.string().min(1).max(64) });
const shutdown = z.strictObject({ now: z.boolean().default(false) });

export function hostRoutes(api: FastifyInstance, { host }: ApiContext): void {
  api.get('/v1/host', () => host.view());
  api.get('/v1/host/dmesg', (_request, reply) => reply.type('text/plain; charset=utf-8').send(host.dmesg(false)));
  /** Returns the ring and empties it. */
  api.delete('/v1/host/dmesg', (_request, reply) => reply.type('text/plain; charset=utf-8').send(host.dmesg(true)));
  api.post('/v1/host/debug-keys', (request, reply) => { host.debugKeys(validated(debugKeys, request.body).keys); return reply.code(204).send(); });
  api.post('/v1/host/shutdown', (request, reply) => { host.shutdown(validated(shutdown, request.body ?? {}).now); return reply.code(202).send({}); });
}
