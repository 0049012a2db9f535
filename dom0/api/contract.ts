// The HTTP API as a table: server, validation, OpenAPI document, reference page and client all derive from it.
import { z } from 'zod';
import { TRACE_MAX } from '../../hypervisor/public/debug.ts';
import { domainConfig, vifConfig } from '../toolstack/config/schema.ts';
import { domainEnd, domainView, hostInfo, vifView } from '../toolstack/views.ts';
import { CONSOLE_CONTRACT, consoleQuery } from './console-contract.ts';
import { DEVICES_CONTRACT } from './devices-contract.ts';
import { configSource, MANAGEMENT_CONTRACT, ONE_CONFIG, oneConfig } from './management-contract.ts';
import type { Route } from './route.ts';

const query = {
  domains: z.strictObject({
    name: z.string().max(255).optional().describe('only domains whose name contains this'),
    state: z.enum(['running', 'paused', 'shutdown', 'crashed']).optional().describe('running: neither paused nor ended'),
    after: z.coerce.number().int().min(-1).max(65535).optional().describe('only domids above this one: the last one of the page before'),
    limit: z.coerce.number().int().min(1).max(1000).optional().describe('at most so many; a Link header leads to the next page'),
  }),
  act: z.strictObject({ until: z.enum(['acknowledged', 'ended']).default('acknowledged').describe('shutdown and reboot: until the guest has taken it, or until the domain has ended') }),
  perf: z.strictObject({ seconds: z.coerce.number().min(0.1).max(600).default(5), hertz: z.coerce.number().int().min(1).max(1000).default(500) }),
  instructions: z.strictObject({ last: z.coerce.number().int().min(1).max(TRACE_MAX).default(100) }),
  calls: z.strictObject({ last: z.coerce.number().int().min(1).max(TRACE_MAX).default(100), kind: z.enum(['hypercalls', 'events', 'all']).default('all') }),
};

const body = {
  create: z.strictObject({ ...configSource, paused: z.boolean().default(false) }).refine(oneConfig, ONE_CONFIG),
  act: z.discriminatedUnion('action', [
    z.strictObject({ action: z.literal('shutdown') }), z.strictObject({ action: z.literal('reboot') }),
    z.strictObject({ action: z.literal('suspend').describe('answers once it is suspended: shut down with reason 2, its devices kept') }),
    z.strictObject({ action: z.literal('resume').describe('a suspended domain goes on where it was') }),
    z.strictObject({ action: z.literal('pause') }), z.strictObject({ action: z.literal('unpause') }),
    z.strictObject({ action: z.literal('rename'), name: z.string().max(255) }),
    z.strictObject({ action: z.literal('sysrq'), key: z.string().length(1) }),
  ]),
  vif: z.strictObject({ carrier: z.boolean() }),
  keys: z.strictObject({ keys: z.string().min(1).max(64) }),
  shutdown: z.strictObject({
    now: z.boolean().default(false).describe('destroy guests instead of shutting them down'),
    ifIdle: z.boolean().default(false).describe('only while there is no guest; otherwise nothing happens'),
  }),
  gdb: z.strictObject({ port: z.int().min(0).max(65535).optional(), socket: z.string().regex(/^\//, 'must be an absolute path').max(107).optional() }),
  trace: z.strictObject({
    instructions: z.union([z.boolean(), z.int().min(0).max(TRACE_MAX)]).optional().describe('how many to remember of each vCPU; true for the usual number'),
    calls: z.boolean().optional().describe('hypercalls and events'),
  }),
};

const text = z.string(), binary = z.string().meta({ format: 'binary' });
const count = z.object({ count: z.number(), ms: z.number() }).readonly();
const counts = z.record(z.string(), count).readonly();
const stackView = z.object({
  vcpu: z.number(), rip: z.string().exactOptional(), rsp: z.string().exactOptional(), kernelMode: z.boolean().exactOptional(),
  registers: z.record(z.string(), z.string()).readonly().exactOptional(),
  calls: z.array(z.object({ at: z.string(), address: z.string() }).readonly()).readonly().exactOptional(),
}).readonly();
const perfReport = z.object({
  seconds: z.number(), guestMs: z.number(), looks: z.number(), walking: z.number(), exits: counts, hypercalls: counts, processor: z.record(z.string(), z.number()).readonly(),
  samples: z.array(z.object({ address: z.string(), kernelMode: z.boolean(), count: z.number(), translated: z.number() }).readonly()).readonly(),
}).readonly();
const instructionView = z.object({ vcpu: z.number(), rip: z.string(), digest: z.string(), kernelMode: z.boolean() }).readonly();
const health = z.object({ status: z.literal('ok'), domains: z.number() });

export const CONTRACT = {
  health: { method: 'GET', path: '/healthz', tag: 'meta', summary: 'Says that Dom0 answers, and how many domains there are', answer: health, scope: 'none' },
  metrics: { method: 'GET', path: '/metrics', tag: 'meta', summary: "Host and domains in Prometheus's text format", answer: text, media: 'text/plain; version=0.0.4; charset=utf-8' },
  openapi: { method: 'GET', path: '/v1/openapi.json', tag: 'meta', summary: 'This document', answer: z.record(z.string(), z.unknown()) },
  reference: { method: 'GET', path: '/v1/reference', tag: 'meta', summary: 'This document as a page to read', answer: text, media: 'text/html; charset=utf-8' },

  host: { method: 'GET', path: '/v1/host', tag: 'host', summary: 'The machine, its memory and scheduler', answer: hostInfo },
  dmesg: { method: 'GET', path: '/v1/host/dmesg', tag: 'host', summary: "The hypervisor's console ring", answer: text, media: 'text/plain; charset=utf-8' },
  clearDmesg: { method: 'DELETE', scope: 'admin', path: '/v1/host/dmesg', tag: 'host', summary: 'Returns the ring and empties it', answer: text, media: 'text/plain; charset=utf-8', status: 200 },
  debugKeys: { method: 'POST', scope: 'admin', path: '/v1/host/debug-keys', tag: 'host', summary: 'Sends debug keys; what they say goes to the ring', body: body.keys },
  shutdownHost: { method: 'POST', scope: 'admin', path: '/v1/host/shutdown', tag: 'host', summary: 'Ends the host after the answer, guests first', body: body.shutdown, answer: z.object({ ending: z.boolean() }), status: 202 },
  events: { method: 'GET', endless: true, path: '/v1/events', tag: 'host', summary: 'Changes of state as server-sent events; Last-Event-ID resumes', answer: text, media: 'text/event-stream', headers: ['Last-Event-ID'], problems: ['too-many-readers'] },

  ...MANAGEMENT_CONTRACT,
  ...DEVICES_CONTRACT,
  ...CONSOLE_CONTRACT,

  domains: { method: 'GET', path: '/v1/domains', tag: 'domains', summary: 'All domains by domid, Domain-0 first', query: query.domains, answer: z.array(domainView) },
  createDomain: {
    method: 'POST', path: '/v1/domains', tag: 'domains', summary: 'Makes a domain and starts it unless it is to stay paused; an Idempotency-Key makes repeating safe', body: body.create, answer: domainView, status: 201, headers: ['Idempotency-Key'], async: true,
    problems: ['key-reused', 'domain-exists', 'domain-busy', 'bad-name', 'bad-memory', 'bad-disk', 'bad-vif', 'bad-kernel', 'bad-ramdisk', 'build-failed', 'not-supported', 'hypervisor', 'bad-config', 'path-refused', 'cancelled', 'limit-reached'],
  },
  domain: { method: 'GET', path: '/v1/domains/{domain}', tag: 'domains', summary: 'One domain, by domid or name', answer: domainView, problems: ['domain-not-found'] },
  config: { method: 'GET', path: '/v1/domains/{domain}/config', tag: 'domains', summary: 'The configuration it was made from', answer: domainConfig, problems: ['domain-not-found', 'dom0-refused'] },
  destroy: { method: 'DELETE', path: '/v1/domains/{domain}', tag: 'domains', summary: 'Ends it at once', async: true, problems: ['domain-not-found', 'dom0-refused', 'limit-reached'] },
  act: {
    method: 'POST', path: '/v1/domains/{domain}/actions', tag: 'domains', summary: 'Shuts down, reboots, suspends, resumes, pauses, unpauses, renames, sends a sysrq', query: query.act, body: body.act, answer: domainView, async: true,
    problems: ['cancelled', 'limit-reached', 'definition-exists', 'domain-not-found', 'domain-not-running', 'domain-not-suspended', 'domain-exists', 'bad-name', 'no-answer', 'dom0-refused', 'hypervisor'],
  },
  waitEnd: { method: 'GET', path: '/v1/domains/{domain}/end', tag: 'domains', summary: 'Answers when the domain shuts down, is suspended (reason 2), or is destroyed', answer: domainEnd, problems: ['domain-not-found', 'dom0-refused'] },
  console: {
    method: 'GET', scope: 'operate', path: '/v1/domains/{domain}/console', tag: 'domains', summary: 'With `Upgrade: websocket` (binary frames are its bytes, text frames JSON) or `Upgrade: xenolith-console` (bytes alone) the connection becomes the console, scrollback first', query: consoleQuery,
    status: 101, problems: ['upgrade-required', 'domain-not-found', 'domain-not-running', 'wrong-origin', 'too-many-readers'],
  },

  vifs: { method: 'GET', path: '/v1/domains/{domain}/vifs', tag: 'devices', summary: 'Its network interfaces', answer: z.array(vifView).readonly(), problems: ['domain-not-found'] },
  attachVif: { method: 'POST', path: '/v1/domains/{domain}/vifs', tag: 'devices', summary: 'Plugs an interface in', body: vifConfig, answer: domainView, status: 201, problems: ['domain-not-found', 'domain-not-running', 'bad-vif', 'dom0-refused'] },
  detachVif: { method: 'DELETE', path: '/v1/domains/{domain}/vifs/{device}', tag: 'devices', summary: 'Pulls one out, by devid or address', problems: ['domain-not-found', 'domain-not-running', 'device-not-found', 'dom0-refused'] },
  setCarrier: { method: 'PATCH', path: '/v1/domains/{domain}/vifs/{device}', tag: 'devices', summary: 'Takes its cable out, or puts it back', body: body.vif, answer: domainView, problems: ['domain-not-found', 'domain-not-running', 'device-not-found', 'dom0-refused'] },
  restartVif: { method: 'POST', path: '/v1/domains/{domain}/vifs/{device}/restart', tag: 'devices', summary: 'Its backend begins anew, unseen by the guest', answer: domainView, problems: ['domain-not-found', 'domain-not-running', 'device-not-found', 'dom0-refused'] },
  captureVif: { method: 'GET', endless: true, scope: 'admin', path: '/v1/domains/{domain}/vifs/{device}/capture', tag: 'devices', summary: 'Its packets as a pcap file that grows until the connection ends', answer: binary, media: 'application/vnd.tcpdump.pcap', problems: ['domain-not-found', 'device-not-found', 'no-such-bridge'] },
  captureBridge: { method: 'GET', endless: true, scope: 'admin', path: '/v1/bridges/{bridge}/capture', tag: 'devices', summary: "A bridge's packets as a pcap file that grows until the connection ends", answer: binary, media: 'application/vnd.tcpdump.pcap', problems: ['no-such-bridge'] },

  gdb: {
    method: 'POST', scope: 'admin', path: '/v1/domains/{domain}/gdb', tag: 'debugging', summary: 'Opens a place for gdb, says in lines of JSON what happens there, closes it with the connection', body: body.gdb, answer: text, media: 'application/x-ndjson',
    problems: ['path-refused', 'domain-not-found', 'dom0-refused', 'bad-address'],
  },
  stacks: { method: 'GET', scope: 'admin', path: '/v1/domains/{domain}/stacks', tag: 'debugging', summary: 'Registers and likely calls of each vCPU', answer: z.array(stackView), problems: ['domain-not-found', 'dom0-refused', 'no-answer'] },
  perf: { method: 'GET', path: '/v1/domains/{domain}/perf', tag: 'debugging', summary: 'Measures for a while, then answers', query: query.perf, answer: perfReport, problems: ['domain-not-found', 'dom0-refused', 'domain-busy'] },
  setTrace: { method: 'PUT', scope: 'admin', path: '/v1/domains/{domain}/trace', tag: 'debugging', summary: 'Switches traces', body: body.trace, problems: ['domain-not-found', 'dom0-refused', 'hypervisor'] },
  calls: { method: 'GET', scope: 'admin', path: '/v1/domains/{domain}/trace/calls', tag: 'debugging', summary: 'The last hypercalls and events', query: query.calls, answer: z.array(text), problems: ['domain-not-found', 'dom0-refused', 'not-traced'] },
  instructions: { method: 'GET', scope: 'admin', path: '/v1/domains/{domain}/trace/instructions', tag: 'debugging', summary: 'The last instructions', query: query.instructions, answer: z.array(instructionView), problems: ['domain-not-found', 'dom0-refused', 'not-traced'] },
} as const satisfies Readonly<Record<string, Route>>;
