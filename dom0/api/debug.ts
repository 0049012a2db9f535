// /v1/domains/:domain/{gdb,stacks,perf,trace}: debugging aids.
import type { FastifyInstance } from 'fastify';
import type { Domid } from '../../hypervisor/public/types.ts';
import type { GdbEvent, GdbListen } from '../debug/gdb-server.ts';
import { DEFAULT_INSTRUCTIONS } from '../debug/instructions.ts';
import { ManagementError } from '../management/errors.ts';
import { ToolstackError } from '../toolstack/errors.ts';
import { CONTRACT } from './contract.ts';
import { BadRequest } from './problem.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

export function debugRoutes(api: FastifyInstance, { toolstack, debug }: ApiContext): void {
  if (!debug) return;
  const domainOf = ({ domain }: { readonly domain: string }): Domid => {
    const dom = toolstack.domid(domain);
    if (dom === 0) throw new ToolstackError('dom0-refused', 'Domain-0 is the host itself');
    return dom as Domid;
  };
  /** Opens a place for gdb to connect to, says so and what happens there in lines of JSON, and closes it with the connection. */
  serve(api, CONTRACT.gdb, async ({ params, body: { port, socket }, request, reply }) => {
    if (socket !== undefined && request.caller.remote) throw new ManagementError('path-refused', 'remote callers may name no socket: leave it out, or ask for a port');
    const dom = domainOf(params);
    const listen: GdbListen | undefined = port !== undefined ? { port } : socket !== undefined ? { socket } : undefined;
    const early: GdbEvent[] = [];
    let say = (event: GdbEvent): void => { early.push(event); };
    const server = await debug.openGdb(dom, listen, event => say(event)).catch((error: NodeJS.ErrnoException) => {
      throw new BadRequest('bad-address', `gdb cannot be waited for at ${port ?? socket ?? 'the run folder'}: ${error.code === 'EADDRINUSE' ? 'the address is in use' : error.message}`);
    });
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'application/x-ndjson' });
    say = event => { reply.raw.write(`${JSON.stringify(event)}\n`); if (event.event === 'ended') reply.raw.end(); };
    early.forEach(say);
    reply.raw.on('close', () => server.close());
    return '';
  });
  serve(api, CONTRACT.stacks, ({ params }) => debug.stacks(domainOf(params)));
  serve(api, CONTRACT.perf, ({ params, query: { seconds, hertz }, reply }) => {
    const gone = new AbortController();
    reply.raw.on('close', () => gone.abort());
    return debug.perf(domainOf(params), seconds, hertz, gone.signal);
  });
  serve(api, CONTRACT.setTrace, async ({ params, body: { instructions, calls } }) => {
    const dom = domainOf(params);
    if (instructions !== undefined) await debug.setInstructionTrace(dom, instructions === true ? DEFAULT_INSTRUCTIONS : Number(instructions));
    if (calls !== undefined) debug.setCallTrace(dom, calls);
  });
  serve(api, CONTRACT.calls, ({ params, query: { kind, last } }) => debug.calls(domainOf(params), kind === 'all' ? ['hypercalls', 'events'] : [kind], last));
  serve(api, CONTRACT.instructions, ({ params, query }) => debug.instructions(domainOf(params), query.last));
}
