// The typed configuration of a domain: one zod schema is validation, type and API description at once.
import { z } from 'zod';

export const EVENT_ACTIONS = ['destroy', 'restart', 'rename-restart', 'preserve', 'coredump-destroy', 'coredump-restart', 'soft-reset'] as const;
export const eventAction = z.enum(EVENT_ACTIONS);

export const diskConfig = z.strictObject({
  target: z.string().max(4096),
  format: z.enum(['raw', 'qcow', 'qcow2', 'vhd', 'qed', 'empty']),
  vdev: z.string().min(1).max(32),
  readOnly: z.boolean(), cdrom: z.boolean(), discard: z.boolean(), trusted: z.boolean(),
  backendDomain: z.string().optional(), backendType: z.string().optional(), script: z.string().optional(),
});

export const vifConfig = z.strictObject({
  mac: z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/).optional(), bridge: z.string().optional(), gatewaydev: z.string().optional(), vifname: z.string().optional(),
  script: z.string().optional(), ip: z.string().optional(), backend: z.string().optional(), devid: z.number().int().min(0).max(65535).optional(),
  mtu: z.number().int().min(68).max(65535).optional(), rate: z.strictObject({ bytesPerInterval: z.number().int().positive(), intervalUsec: z.number().int().positive() }).optional(), trusted: z.boolean(),
  /** The bridge's VLANs of this interface: `10`, or `10p/20/30` with an untagged one and tagged ones. */
  vlan: z.string().max(256).optional(),
  /** Frames with a source address other than `mac` are dropped. */
  antispoof: z.boolean().optional(),
});

export const domainConfig = z.strictObject({
  name: z.string().min(1).max(255),
  uuid: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  type: z.literal('pv'),
  /** vCPUs online at boot, and the most there may be. */
  vcpus: z.number().int().min(1), maxVcpus: z.number().int().min(1),
  memoryKib: z.number().int().min(0), maxMemKib: z.number().int().min(0),
  kernel: z.string().min(1), ramdisk: z.string().optional(), cmdline: z.string(),
  /** credit2: weight 256 is a fair share; cap in percent of one pCPU, 0 for none. */
  weight: z.number().int().min(1).max(65535), cap: z.number().int().min(0),
  cpus: z.array(z.number().int()).optional(),
  onPoweroff: eventAction, onReboot: eventAction, onCrash: eventAction, onWatchdog: eventAction, onSoftReset: eventAction,
  disks: z.array(diskConfig), vifs: z.array(vifConfig),
});

export type EventAction = z.infer<typeof eventAction>;
export type DiskConfig = z.infer<typeof diskConfig>;
export type VifConfig = z.infer<typeof vifConfig>;
export type DomainConfig = z.infer<typeof domainConfig>;
