// What the toolstack needs of its neighbours in Dom0, as narrow interfaces: tests give fakes.
import type { Domid, EvtchnPort, Mfn } from '../../hypervisor/public/types.ts';
import type { ConsoleSource } from '../console/console-source.ts';
import type { DiskConfig, DomainConfig, VifConfig } from './config/schema.ts';

export type Maybe<T> = T | Promise<T>;

/** Xenstore permissions as xenstore-ls shows them, owner first: `n5`, `r0`. */
export type StorePermissions = readonly string[];

/** Dom0's own window on xenstore. */
export interface Store {
  /** undefined: no such node. */
  read(path: string): Maybe<string | undefined>;
  /** Creates missing parents, which inherit permissions. */
  write(path: string, value: string): Maybe<void>;
  /** Removes the node and all below; no error if there is none. */
  remove(path: string): Maybe<void>;
  setPermissions(path: string, permissions: StorePermissions): Maybe<void>;
  /** Names of the children; empty if there is no such node. */
  list(path: string): Maybe<readonly string[]>;
  /** @returns ends the watch */
  watch(path: string, handler: (path: string) => void): Maybe<() => void>;
  /** XS_INTRODUCE: the domain's ring is served from now on. */
  introduce(dom: Domid, ringMfn: Mfn, port: EvtchnPort): Maybe<void>;
  /** XS_RESUME: that it shuts down is announced anew. */
  resume(dom: Domid): Maybe<void>;
  /** XS_RELEASE */
  release(dom: Domid): Maybe<void>;
}

/** A reader and writer of a domain's console; several may be attached. */
export interface ConsoleAttachment {
  /** @returns false if the guest is slow: wait for drained() before writing more */
  write(data: Uint8Array): boolean;
  drained(): Promise<void>;
  close(): void;
}
export interface Consoles {
  /** For viewers with a pace of their own. undefined: no such console. */
  source(dom: Domid): ConsoleSource | undefined;
  /** Starts serving a domain's console ring; `port` is the guest's. */
  open(dom: Domid, name: string, ringMfn: Mfn, port: EvtchnPort): Maybe<void>;
  close(dom: Domid): Maybe<void>;
  /** `onData` gets the scrollback first. undefined: no such console. */
  attach(dom: Domid, onData: (data: Uint8Array) => void, onEnd: () => void): ConsoleAttachment | undefined;
}

/** Puts kernel and ramdisk into the domain's memory and gives vCPU 0 its start state. */
export interface Builder {
  /** Reads and checks the files before any domain exists. @throws ToolstackError */
  prepare(config: DomainConfig): Promise<PreparedImage>;
}
export interface PreparedImage {
  readonly program?: boolean;
  /** @throws ToolstackError */
  build(dom: Domid, ports: { storePort: EvtchnPort; consolePort: EvtchnPort }): Maybe<{ storeMfn: Mfn; consoleMfn: Mfn }>;
}

/** A backend for virtual disks. */
export interface DiskBackend {
  /** Opens and locks the image before the domain exists. @throws ToolstackError 'bad-disk' */
  open(disk: DiskConfig, owner: string): Promise<OpenDisk>;
}
export interface OpenDisk {
  /** Resolves when the guest has let go after it was asked to. */
  readonly removed: Promise<void>;
  /** Serves the device whose nodes are in xenstore. */
  attach(dom: Domid, devid: number, frontend: string, backend: string): Maybe<void>;
  /** Finishes or drops requests in flight, unmaps, closes the image. */
  close(): Promise<void>;
  info(): Readonly<Record<string, number>>;
}

/** A backend for virtual interfaces. */
export interface NetBackend {
  /** What can be said before the domain exists. @throws ToolstackError 'bad-vif' */
  check(vif: VifConfig): void;
  /** Serves the device whose nodes are in xenstore. @throws ToolstackError 'bad-vif' */
  attach(vif: VifConfig, dom: Domid, backend: string): OpenVif;
}
export interface OpenVif {
  /** Resolves when the guest has let go after it was asked to. */
  readonly removed: Promise<void>;
  /** Begins anew with the frontend as it is, which is not told: as after a crash of the backend. */
  restart(): Promise<void>;
  /** Lets go of everything, whatever the guest does. */
  close(): Promise<void>;
  info(): Readonly<Record<string, number>>;
}

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
