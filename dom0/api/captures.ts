// /v1/bridges/:bridge/capture, /v1/domains/:domain/vifs/:device/capture: a pcap file that grows until the connection ends.
import type { FastifyInstance, FastifyReply } from 'fastify';
import { capture, type CaptureOf } from '../capture/index.ts';
import { BadRequest } from './problem.ts';
import type { ApiContext } from './server.ts';

const MEDIA_TYPE = 'application/vnd.tcpdump.pcap';

export function captureRoutes(api: FastifyInstance, { toolstack, bridges }: ApiContext): void {
  if (!bridges) return;
  const stream = (reply: FastifyReply, name: string, of?: CaptureOf): void => {
    const bridge = bridges.find(name);
    if (!bridge) throw new BadRequest('no-such-bridge', `there is no bridge ${name}: there are ${bridges.all.map(b => b.name).join(', ')}`, 404);
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': MEDIA_TYPE });
    const { stop } = capture(bridge, reply.raw, of);
    reply.raw.on('close', stop);
    reply.raw.on('error', stop);
  };
  api.get('/v1/bridges/:bridge/capture', (request, reply) => { stream(reply, (request.params as { bridge: string }).bridge); return reply; });
  /** `device` is a devid or an address. */
  api.get('/v1/domains/:domain/vifs/:device/capture', async (request, reply) => {
    const { domain, device } = request.params as { domain: string; device: string }, { domid, vifs } = await toolstack.describe(domain);
    const vif = vifs.find(v => String(v.devid) === device || v.mac === device.toLowerCase());
    if (!vif) throw new BadRequest('device-not-found', `domain ${domain} has no interface ${device}`, 404);
    stream(reply, vif.bridge, { port: `vif${domid}.${vif.devid}`, mac: vif.mac });
    return reply;
  });
}
