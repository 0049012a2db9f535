// How a call ended, told once: when its answer is made, whether its client is still there or not. Fastify's onResponse tells
// it only where the whole answer was taken.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

/** To be called before any route is added. */
export function onOutcome(api: FastifyInstance, tell: (request: FastifyRequest, reply: FastifyReply) => void): void {
  const told = new WeakSet<FastifyRequest>();
  const once = (request: FastifyRequest, reply: FastifyReply): void => {
    if (told.has(request)) return;
    told.add(request);
    tell(request, reply);
  };
  api.addHook('onSend', async (request, reply) => { once(request, reply); });
  // What answers by itself (gdb, captures, events) sends nothing that fastify knows of.
  api.addHook('preHandler', async (request, reply) => { reply.raw.once('close', () => { if (reply.raw.headersSent) once(request, reply); }); });
}
