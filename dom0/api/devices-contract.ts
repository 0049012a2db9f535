// Routes of disks, memory, scheduling, xenstore and files; contract.ts takes them in.
import { z } from 'zod';
import { diskConfig } from '../toolstack/config/schema.ts';
import { TRIGGERS } from '../toolstack/tuning.ts';
import { diskView, domainView } from '../toolstack/views.ts';
import type { Route } from './route.ts';

/** XENSTORE_ABS_PATH_MAX and XENSTORE_PAYLOAD_MAX (io/xs_wire.h). */
const MAX_PATH_CHARS = 3072, MAX_VALUE_CHARS = 4096;

const path = z.string().regex(/^\/[\x21-\x7e]*$/, 'must be an absolute path of xenstore').max(MAX_PATH_CHARS);
const node = z.strictObject({ path });
const ofDomain = ['domain-not-found', 'domain-not-running', 'dom0-refused'] as const;

export const storeNode = z.object({
  path: z.string(), value: z.string().describe('a character for each byte'), permissions: z.array(z.string()).readonly().describe('owner and access of all others first: n5, r0'), children: z.array(z.string()).readonly(),
}).readonly();
export type StoreNodeView = z.infer<typeof storeNode>;

export const schedulerView = z.object({
  scheduler: z.string(), pcpus: z.number(), freePcpus: z.number(), waitingVcpus: z.number(), rateLimitUs: z.number(),
  domains: z.array(z.object({ domid: z.number(), name: z.string(), weight: z.number(), cap: z.number().describe('per cent of one pCPU; 0: none') }).readonly()).readonly(),
}).readonly();
export type SchedulerView = z.infer<typeof schedulerView>;

export const FILE_KINDS = ['kernel', 'program', 'ramdisk', 'disk'] as const;
export const hostFile = z.object({
  path: z.string(), kind: z.enum(FILE_KINDS).describe('by what it is used as, else by its first bytes'), sizeBytes: z.number(),
  usedBy: z.array(z.string()).readonly().describe('names of domains, running or defined'),
}).readonly();
export type HostFile = z.infer<typeof hostFile>;

export const DEVICES_CONTRACT = {
  disks: { method: 'GET', path: '/v1/domains/{domain}/disks', tag: 'devices', summary: 'Its disks', answer: z.array(diskView).readonly(), problems: ['domain-not-found'] },
  attachDisk: { method: 'POST', path: '/v1/domains/{domain}/disks', tag: 'devices', summary: 'Plugs a disk in', body: diskConfig, answer: domainView, status: 201, problems: [...ofDomain, 'bad-disk', 'path-refused'] },
  detachDisk: { method: 'DELETE', path: '/v1/domains/{domain}/disks/{device}', tag: 'devices', summary: 'Pulls one out, by vdev or devid', problems: [...ofDomain, 'device-not-found'] },

  setMemory: {
    method: 'PUT', path: '/v1/domains/{domain}/memory', tag: 'domains', summary: 'Sets the target of its balloon driver, which goes there by itself',
    body: z.strictObject({ targetKib: z.int().min(1).max(2 ** 32) }), answer: domainView, problems: [...ofDomain, 'bad-memory', 'hypervisor'],
  },
  trigger: {
    method: 'POST', path: '/v1/domains/{domain}/trigger', tag: 'domains', summary: 'Sends an NMI to a vCPU; the other triggers are for HVM guests', body: z.strictObject({ trigger: z.enum(TRIGGERS), vcpu: z.int().min(0).max(127).default(0) }), answer: domainView,
    problems: [...ofDomain, 'not-supported', 'device-not-found'],
  },
  scheduler: { method: 'GET', path: '/v1/host/scheduler', tag: 'host', summary: 'Run queues and the parameters of each domain', answer: schedulerView },
  setScheduler: {
    method: 'PATCH', path: '/v1/domains/{domain}/scheduler', tag: 'domains', summary: 'Weight and cap', body: z.strictObject({ weight: z.int().optional(), cap: z.int().optional() }), answer: domainView,
    problems: ['domain-not-found', 'dom0-refused', 'bad-scheduling', 'hypervisor'],
  },

  files: { method: 'GET', path: '/v1/files', tag: 'host', summary: 'Kernels, ramdisks and images that domains use, and those below the folders that remote callers may name', query: z.strictObject({ kind: z.enum(FILE_KINDS).optional() }), answer: z.array(hostFile).readonly() },

  readStore: { method: 'GET', scope: 'operate', path: '/v1/xenstore', tag: 'xenstore', summary: 'One node with the names of its children', query: node, answer: storeNode, problems: ['no-such-node', 'bad-path'] },
  writeStore: {
    method: 'PUT', scope: 'admin', path: '/v1/xenstore', tag: 'xenstore', summary: 'Writes a node, with missing parents', query: node,
    body: z.strictObject({ value: z.string().regex(/^[\x00-\xff]*$/, 'each character is one byte').max(MAX_VALUE_CHARS), permissions: z.array(z.string().regex(/^[nrwb]\d{1,5}$/)).min(1).max(16).optional() }), answer: storeNode, problems: ['bad-path'],
  },
  removeStore: { method: 'DELETE', scope: 'admin', path: '/v1/xenstore', tag: 'xenstore', summary: 'Removes a node and all below', query: node, problems: ['no-such-node', 'bad-path'] },
  watchStore: { method: 'GET', endless: true, scope: 'operate', path: '/v1/xenstore/watch', tag: 'xenstore', summary: 'Changes at or below a node as server-sent events, the node itself first', query: node, answer: z.string(), media: 'text/event-stream', problems: ['too-many-readers', 'bad-path'] },
} as const satisfies Readonly<Record<string, Route>>;
