// What is told of domains, devices and the host: one zod schema each is type and API description at once.
import { z } from 'zod';

const counters = z.record(z.string(), z.number()).readonly();

export const diskView = z.object({
  devid: z.number(), vdev: z.string(), target: z.string(), readOnly: z.boolean(),
  state: z.number(), eventChannel: z.number(), ringRef: z.number(), backendPath: z.string(), counters,
}).readonly();

export const vifView = z.object({
  devid: z.number(), mac: z.string(), bridge: z.string(),
  addresses: z.array(z.string()).readonly().describe('as far as an uplink has handed them out'),
  carrier: z.boolean().describe('the state of the link, as the toolstack wants it'),
  state: z.number().describe('of the frontend; numbers are -1 where it has not written them'),
  eventChannel: z.number(), txRingRef: z.number(), rxRingRef: z.number(), backendPath: z.string(), counters,
}).readonly();

export const domainView = z.object({
  domid: z.number(), name: z.string(), uuid: z.string(),
  memKib: z.number(), maxMemKib: z.number(), memoryTargetKib: z.number().describe('where its balloon driver is to go'), vcpus: z.number(), vcpusOnline: z.number(),
  running: z.boolean(), blocked: z.boolean(), paused: z.boolean(), shutdown: z.boolean(), crashed: z.boolean(), dying: z.boolean(),
  shutdownReason: z.number().optional().describe('SHUTDOWN_*, when shutdown'),
  cpuTimeSec: z.number(), uptimeSec: z.number(), weight: z.number(), cap: z.number(),
  disks: z.array(diskView).readonly(), vifs: z.array(vifView).readonly(),
}).readonly();

export const domainEnd = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('shutdown'), reason: z.number().describe('SHUTDOWN_*') }), z.object({ kind: z.literal('destroyed') }),
]).readonly();

export const hostInfo = z.object({
  host: z.string(), release: z.string(), version: z.string(), machine: z.string(),
  cpus: z.number(), cpuMhz: z.number(), totalMemKib: z.number(), freeMemKib: z.number(),
  xenMajor: z.number(), xenMinor: z.number(), xenExtra: z.string(), scheduler: z.string(),
  hwCaps: z.string(), compiler: z.string(), buildId: z.string(),
  capabilities: z.string(), commandLine: z.string(), changeset: z.string(), pid: z.number(), uptimeSec: z.number(),
}).readonly();

export type DiskView = z.infer<typeof diskView>;
export type VifView = z.infer<typeof vifView>;
/** A domain as the lists show it. */
export type DomainView = z.infer<typeof domainView>;
export type HostView = z.infer<typeof hostInfo>;
