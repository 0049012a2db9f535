// /v1/domains: list, create, describe, act, plug interfaces, wait for the end.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Action } from '../toolstack/action.ts';
import { domainConfig, vifConfig } from '../toolstack/config/schema.ts';
import { validated } from './problem.ts';
import type { ApiContext } from './server.ts';

const create = z.strictObject({ config: domainConfig, paused: z.boolean().default(false) });
const act = z.discriminatedUnion('action', [
  z.strictObject({ action: z.literal('shutdown') }), z.strictObject({ action: z.literal('reboot') }),
  z.strictObject({ action: z.literal('pause') }), z.strictObject({ action: z.literal('unpause') }),
  z.strictObject({ action: z.literal('rename'), name: z.string().max(255) }),
  z.strictObject({ action: z.literal('sysrq'), key: z.string().length(1) }),
]);

const vifChange = z.strictObject({ carrier: z.boolean() });

const domainOf = (request: FastifyRequest): string => (request.params as { domain: string }).domain;

export function domainRoutes(api: FastifyInstance, { toolstack }: ApiContext): void {
  api.get('/v1/domains', () => toolstack.list());
  api.post('/v1/domains', async (request, reply) => {
    const body = validated(create, request.body);
    return reply.code(201).send(await toolstack.perform({ action: 'create', config: body.config, paused: body.paused } as Action));
  });
  /** `domain` is a domid or a name. */
  api.get('/v1/domains/:domain', request => toolstack.describe(domainOf(request)));
  api.get('/v1/domains/:domain/config', request => toolstack.config(domainOf(request)));
  api.delete('/v1/domains/:domain', async (request, reply) => {
    await toolstack.perform({ action: 'destroy', domain: domainOf(request) });
    return reply.code(204).send();
  });
  api.post('/v1/domains/:domain/actions', request => toolstack.perform({ ...validated(act, request.body), domain: domainOf(request) } as Action));
  api.get('/v1/domains/:domain/vifs', async request => (await toolstack.describe(domainOf(request))).vifs);
  api.post('/v1/domains/:domain/vifs', async (request, reply) =>
    reply.code(201).send(await toolstack.perform({ action: 'attach-vif', domain: domainOf(request), vif: validated(vifConfig, request.body) } as Action)));
  /** `device` is a devid or an address. */
  api.delete('/v1/domains/:domain/vifs/:device', async (request, reply) => {
    await toolstack.perform({ action: 'detach-vif', domain: domainOf(request), device: (request.params as { device: string }).device });
    return reply.code(204).send();
  });
  api.patch('/v1/domains/:domain/vifs/:device', request => toolstack.perform({
    action: 'set-carrier', domain: domainOf(request), device: (request.params as { device: string }).device, ...validated(vifChange, request.body),
  }));
  /** Its backend begins anew, unseen by the guest. */
  api.post('/v1/domains/:domain/vifs/:device/restart', request => toolstack.perform({ action: 'restart-vif', domain: domainOf(request), device: (request.params as { device: string }).device }));
  /** Answers when the domain shuts down or is destroyed. */
  api.get('/v1/domains/:domain/end', (request, reply) => {
    const gone = new AbortController();
    reply.raw.on('close', () => gone.abort());
    return toolstack.waitEnd(domainOf(request), gone.signal);
  });
}
