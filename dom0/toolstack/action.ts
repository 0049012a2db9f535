// What can be asked of the toolstack: one union, used by the HTTP API and through it by xl.
import type { DomainConfig, VifConfig } from './config/schema.ts';

/** A domid, or a name (which may not be all digits to be found by). */
export type DomainRef = number | string;

export type Action =
  | { readonly action: 'create'; readonly config: DomainConfig; readonly paused?: boolean }
  | { readonly action: 'destroy'; readonly domain: DomainRef }
  /** Asks the guest through control/shutdown and waits until it has taken the request. */
  | { readonly action: 'shutdown'; readonly domain: DomainRef }
  | { readonly action: 'reboot'; readonly domain: DomainRef }
  | { readonly action: 'pause'; readonly domain: DomainRef }
  | { readonly action: 'unpause'; readonly domain: DomainRef }
  | { readonly action: 'rename'; readonly domain: DomainRef; readonly name: string }
  /** One letter of control/sysrq. */
  | { readonly action: 'sysrq'; readonly domain: DomainRef; readonly key: string }
  | { readonly action: 'attach-vif'; readonly domain: DomainRef; readonly vif: VifConfig }
  /** By devid or address; waits until the guest has let go. */
  | { readonly action: 'detach-vif'; readonly domain: DomainRef; readonly device: string }
  /** The link of an interface that stays plugged in goes down or up. */
  | { readonly action: 'set-carrier'; readonly domain: DomainRef; readonly device: string; readonly carrier: boolean }
  /** The backend of one interface begins anew, as after a crash. */
  | { readonly action: 'restart-vif'; readonly domain: DomainRef; readonly device: string };

export type ActionName = Action['action'];

/** A domain as the lists show it. */
export interface DomainView {
  readonly domid: number; readonly name: string; readonly uuid: string;
  readonly memKib: number; readonly maxMemKib: number; readonly vcpus: number; readonly vcpusOnline: number;
  readonly running: boolean; readonly blocked: boolean; readonly paused: boolean;
  readonly shutdown: boolean; readonly crashed: boolean; readonly dying: boolean;
  /** SHUTDOWN_*, when shutdown. */
  readonly shutdownReason?: number;
  readonly cpuTimeSec: number; readonly uptimeSec: number; readonly weight: number; readonly cap: number;
  readonly disks: readonly DiskView[];
  readonly vifs: readonly VifView[];
}

export interface DiskView {
  readonly devid: number; readonly vdev: string; readonly target: string; readonly readOnly: boolean;
  readonly state: number; readonly eventChannel: number; readonly ringRef: number; readonly backendPath: string;
  readonly counters: Readonly<Record<string, number>>;
}

export interface VifView {
  readonly devid: number; readonly mac: string; readonly bridge: string;
  /** As far as an uplink has handed them out. */
  readonly addresses: readonly string[];
  /** The state of the link, as the toolstack wants it. */
  readonly carrier: boolean;
  /** Of the frontend; numbers are -1 where it has not written them. */
  readonly state: number; readonly eventChannel: number; readonly txRingRef: number; readonly rxRingRef: number; readonly backendPath: string;
  readonly counters: Readonly<Record<string, number>>;
}

export interface HostView {
  readonly host: string; readonly release: string; readonly version: string; readonly machine: string;
  readonly cpus: number; readonly cpuMhz: number; readonly totalMemKib: number; readonly freeMemKib: number;
  readonly xenMajor: number; readonly xenMinor: number; readonly xenExtra: string; readonly scheduler: string;
  readonly hwCaps: string; readonly compiler: string; readonly buildId: string;
  readonly capabilities: string; readonly commandLine: string; readonly changeset: string; readonly pid: number; readonly uptimeSec: number;
}
