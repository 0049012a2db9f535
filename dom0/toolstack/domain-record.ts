// What the toolstack remembers of a domain beside what the hypervisor and xenstore know.
import type { Domid } from '../../hypervisor/public/types.ts';
import type { DiskConfig, DomainConfig, VifConfig } from './config/schema.ts';
import type { OpenDisk, OpenVif } from './ports.ts';
import type { EvtchnPort, Mfn } from '../../hypervisor/public/types.ts';

export type DomainEnd =
  /** The guest shut down; reason is SHUTDOWN_*. */
  | { readonly kind: 'shutdown'; readonly reason: number }
  | { readonly kind: 'destroyed' };

export interface AttachedDisk { readonly devid: number; readonly config: DiskConfig; readonly disk: OpenDisk }
/** The configuration has the address it got. */
export interface AttachedVif { readonly devid: number; readonly config: VifConfig; readonly vif: OpenVif }

/** Where the guest's console is: the ring's frame, and the guest's port. */
export interface ConsoleRing { readonly mfn: Mfn; readonly port: EvtchnPort }

export interface DomainRecord {
  readonly domid: Domid;
  config: DomainConfig;
  readonly createdMs: number;
  readonly console: ConsoleRing;
  disks: AttachedDisk[];
  vifs: AttachedVif[];
  /** suspended: shut down so that it can be resumed; its devices stay. */
  state: 'running' | 'suspended' | 'ended' | 'destroying';
  /** Called once each when the domain ends or is suspended. */
  readonly waiters: Set<(end: DomainEnd) => void>;
  end?: DomainEnd;
  /** To be made once this one is gone: it reboots. */
  successor?: DomainConfig;
  /** Set once it is being destroyed. */
  destroyed?: Promise<void>;
}

export function endDomain(record: DomainRecord, end: DomainEnd): void {
  record.end = end;
  for (const waiter of record.waiters) waiter(end);
  record.waiters.clear();
}
