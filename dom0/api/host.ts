// /v1/host: the machine, its console ring, debug keys.
import type { FastifyInstance } from 'fastify';
import { CONTRACT } from './contract.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

export function hostRoutes(api: FastifyInstance, { host }: ApiContext): void {
  serve(api, CONTRACT.host, () => host.view());
  serve(api, CONTRACT.dmesg, () => host.dmesg(false));
  serve(api, CONTRACT.clearDmesg, () => host.dmesg(true));
  serve(api, CONTRACT.debugKeys, ({ body }) => host.debugKeys(body.keys));
  serve(api, CONTRACT.shutdownHost, ({ body }) => ({ ending: host.shutdown(body.now, body.ifIdle) }));
}
