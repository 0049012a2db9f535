// /v1/bridges/:bridge/capture, /v1/domains/:domain/vifs/:device/capture: a pcap file that grows until the connection ends.
import type { FastifyInstance, FastifyReply } from 'fastify';
import { capture } from '../capture/index.ts';
import { vifName } from '../netback/index.ts';
import { ToolstackError } from '../toolstack/errors.ts';
import { CONTRACT } from './contract.ts';
import { BadRequest } from './problem.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

export function captureRoutes(api: FastifyInstance, { toolstack, bridges }: ApiContext): void {
  if (!bridges) return;
  const stream = (reply: FastifyReply, name: string, port?: string): void => {
    const bridge = bridges.find(name);
    if (!bridge) throw new BadRequest('no-such-bridge', `there is no bridge ${name}: there are ${bridges.all.map(b => b.name).join(', ')}`);
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': CONTRACT.captureBridge.media });
    const { stop } = capture(bridge, reply.raw, port);
    reply.raw.on('close', stop);
    reply.raw.on('error', stop);
  };
  serve(api, CONTRACT.captureBridge, ({ params, reply }) => { stream(reply, params.bridge); return reply; });
  serve(api, CONTRACT.captureVif, async ({ params: { domain, device }, reply }) => {
    const { domid, vifs } = await toolstack.describe(domain);
    const vif = vifs.find(v => String(v.devid) === device || v.mac === device.toLowerCase());
    if (!vif) throw new ToolstackError('device-not-found', `domain ${domain} has no interface ${device}`);
    stream(reply, vif.bridge, vifName(domid, vif.devid));
    return '';
  });
}
