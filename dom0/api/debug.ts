// /v1/domains/:domain/{gdb,stacks,perf,trace}: debugging aids.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { TRACE_MAX } from '../../hypervisor/public/debug.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import type { GdbEvent, GdbListen } from '../debug/gdb-server.ts';
import { DEFAULT_INSTRUCTIONS } from '../debug/instructions.ts';
import { ToolstackError } from '../toolstack/errors.ts';
import { BadRequest, validated } from './problem.ts';
import type { ApiContext } from './server.ts';

const gdb = z.strictObject({ port: z.int().min(0).max(65535).optional(), socket: z.string().regex(/^\//, 'must be an absolute path').max(107).optional() });
/** instructions: how many to remember of each vCPU; true for the usual number. calls: hypercalls and events. */
const trace = z.strictObject({ instructions: z.union([z.boolean(), z.int().min(0).max(TRACE_MAX)]).optional(), calls: z.boolean().optional() });
const perf = z.strictObject({ seconds: z.coerce.number().min(0.1).max(600).default(5), hertz: z.coerce.number().int().min(1).max(1000).default(500) });
const count = z.coerce.number().int().min(1).max(TRACE_MAX).default(100);
const last = z.strictObject({ last: count });
const calls = z.strictObject({ last: count, kind: z.enum(['hypercalls', 'events', 'all']).default('all') });

export function debugRoutes(api: FastifyInstance, { toolstack, debug }: ApiContext): void {
  if (!debug) return;
  const domainOf = (request: FastifyRequest): Domid => {
    const dom = toolstack.domid((request.params as { domain: string }).domain);
    if (dom === 0) throw new ToolstackError('dom0-refused', 'Domain-0 is the host itself');
    return dom as Domid;
  };
  /** Opens a place for gdb to connect to, says so and what happens there in lines of JSON, and closes it with the connection. */
  api.post('/v1/domains/:domain/gdb', async (request, reply) => {
    const dom = domainOf(request), { port, socket } = validated(gdb, request.body ?? {});
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
  });
  api.get('/v1/domains/:domain/stacks', request => debug.stacks(domainOf(request)));
  /** Measures for a while, then answers. */
  api.get('/v1/domains/:domain/perf', (request, reply) => {
    const { seconds, hertz } = validated(perf, request.query), gone = new AbortController();
    reply.raw.on('close', () => gone.abort());
    return debug.perf(domainOf(request), seconds, hertz, gone.signal);
  });
  api.put('/v1/domains/:domain/trace', async (request, reply) => {
    const { instructions, calls: on } = validated(trace, request.body), dom = domainOf(request);
    if (instructions !== undefined) await debug.setInstructionTrace(dom, instructions === true ? DEFAULT_INSTRUCTIONS : Number(instructions));
    if (on !== undefined) debug.setCallTrace(dom, on);
    return reply.code(204).send();
  });
  api.get('/v1/domains/:domain/trace/calls', request => {
    const { kind, last: lines } = validated(calls, request.query);
    return debug.calls(domainOf(request), kind === 'all' ? ['hypercalls', 'events'] : [kind], lines);
  });
  api.get('/v1/domains/:domain/trace/instructions', request => debug.instructions(domainOf(request), validated(last, request.query).last));
}
