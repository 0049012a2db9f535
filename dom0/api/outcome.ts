// How a change ended, told once: when its answer is made, whether its client is still there or not. Fastify's onResponse tells
// it only where the whole answer was taken. Hooks have callbacks: of a promise each, every call would wait for several turns of the queue.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

export const isChange = ({ method }: FastifyRequest): boolean => method !== 'GET' && method !== 'HEAD';

/** To be called before any route is added. */
export function onOutcome(api: FastifyInstance, tell: (request: FastifyRequest, reply: FastifyReply) => void): void {
  const told = new WeakSet<FastifyRequest>();
  const once = (request: FastifyRequest, reply: FastifyReply): void => {
    if (told.has(request)) return;
    told.add(request);
    tell(request, reply);
  };
  api.addHook('onSend', (request, reply, _payload, done) => {
    if (isChange(request)) once(request, reply);
    done();
  });
  // What answers by itself (gdb, captures) sends nothing that fastify knows of.
  api.addHook('preHandler', (request, reply, done) => {
    if (isChange(request)) reply.raw.once('close', () => { if (reply.raw.headersSent) once(request, reply); });
    done();
  });
}
