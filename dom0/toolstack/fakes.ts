// Neighbours for tests of the toolstack: a hypervisor, xenstore, consoles, builder and disks that only keep records.
import type { CreateDomain, Dom0Hypercalls, DomainInfo } from '../../hypervisor/public/dom0-hypercalls.ts';
import { domid, mfn, type Domid } from '../../hypervisor/public/types.ts';
import { XEN_LEGACY_MAX_VCPUS } from '../../hypervisor/public/xen.ts';
import type { Neighbours } from './create.ts';
import { ToolstackError } from './errors.ts';
import type { Builder, Consoles, DiskBackend, NetBackend, Store, StorePermissions } from './ports.ts';

interface FakeDomain { config: CreateDomain; paused: boolean; shutdown: boolean; crashed: boolean; reason: number; nextPort: number }

export class FakeHypervisor {
  readonly domains = new Map<number, FakeDomain>();
  /** Most memory, in KiB, as set last. */
  readonly limits = new Map<number, number>();
  nextDomid = 1;
  onEvent: () => void = () => {};

  /** The guest ends itself. */
  shutdown(dom: number, reason: number): void {
    const d = this.domains.get(dom)!;
    d.shutdown = true; d.reason = reason; d.crashed = reason === 3;
    this.onEvent();
  }

  readonly calls = {
    domainCreate: (config: CreateDomain): Domid | number => {
      if (config.vcpus > XEN_LEGACY_MAX_VCPUS) return -22;
      const dom = this.nextDomid++;
      this.domains.set(dom, { config, paused: true, shutdown: false, crashed: false, reason: 0, nextPort: 1 });
      return domid(dom);
    },
    domainDestroy: async (dom: Domid): Promise<number> => this.domains.delete(dom) ? 0 : -3,
    domainPause: (dom: Domid): number => { const d = this.domains.get(dom); if (!d) return -3; d.paused = true; return 0; },
    domainUnpause: (dom: Domid): number => { const d = this.domains.get(dom); if (!d) return -3; d.paused = false; return 0; },
    domainResume: (dom: Domid): number => { const d = this.domains.get(dom); if (!d) return -3; if (!d.shutdown || d.reason !== 2) return -22; d.shutdown = false; return 0; },
    domainInfo: (dom: Domid): DomainInfo | number => {
      const d = this.domains.get(dom);
      if (!d) return -3;
      return {
        domid: dom, uuid: d.config.uuid, slot: dom, running: false, blocked: !d.paused && !d.shutdown, paused: d.paused, dying: false, shutdown: d.shutdown, crashed: d.crashed,
        shutdownReason: d.reason, memKib: d.config.maxMemKib, maxMemKib: d.config.maxMemKib, vcpusOnline: d.config.vcpus, vcpus: d.config.vcpus, cpuTimeNs: 5_900_000_000n, sharedInfoMfn: mfn(1),
      };
    },
    domainSetMaxMem: (dom: Domid, kib: number): number => { const d = this.domains.get(dom); if (!d) return -3; this.limits.set(dom, kib); return 0; },
    domainSetScheduler: (dom: Domid): number => this.domains.has(dom) ? 0 : -3,
    domainSendNmi: (dom: Domid, vcpu: number): number => this.domains.has(dom) && vcpu === 0 ? 0 : -22,
    evtchnAllocUnbound: (dom: Domid): number => this.domains.get(dom)!.nextPort++,
    onDomainEvent: (handler: () => void): void => { this.onEvent = handler; },
  };
}

/** Nodes with permissions; children inherit, as in xenstore. */
export class FakeStore implements Store {
  readonly nodes = new Map<string, { value: string; permissions: StorePermissions }>([['/', { value: '', permissions: ['n0'] }]]);
  readonly introduced = new Set<number>();
  readonly #watches = new Set<{ path: string; handler: (path: string) => void }>();
  readonly #parent = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';

  read(path: string): string | undefined { return this.nodes.get(path)?.value; }
  write(path: string, value: string): void {
    const old = this.nodes.get(path);
    if (!old && !this.nodes.has(this.#parent(path))) this.write(this.#parent(path), '');
    this.nodes.set(path, { value, permissions: old?.permissions ?? this.nodes.get(this.#parent(path))!.permissions });
    this.#fire(path);
  }
  remove(path: string): void {
    for (const key of [...this.nodes.keys()]) if (key === path || key.startsWith(`${path}/`)) this.nodes.delete(key);
    this.#fire(path);
  }
  setPermissions(path: string, permissions: StorePermissions): void { this.nodes.set(path, { value: this.nodes.get(path)!.value, permissions }); }
  list(path: string): string[] { return [...this.nodes.keys()].filter(k => this.#parent(k) === path && k !== '/').map(k => k.slice(k.lastIndexOf('/') + 1)); }
  watch(path: string, handler: (path: string) => void): () => void {
    const watch = { path, handler };
    this.#watches.add(watch);
    queueMicrotask(() => handler(path));
    return () => { this.#watches.delete(watch); };
  }
  introduce(dom: Domid): void { this.introduced.add(dom); }
  resume(): void {}
  release(dom: Domid): void { this.introduced.delete(dom); }
  #fire(path: string): void { for (const w of this.#watches) if (path === w.path || path.startsWith(`${w.path}/`)) queueMicrotask(() => w.handler(path)); }
}

export interface World {
  readonly near: Neighbours; readonly hypervisor: FakeHypervisor; readonly store: FakeStore;
  readonly openDisks: Set<string>; readonly openVifs: Set<string>; readonly openConsoles: Set<number>; readonly messages: string[];
  /** Kernel paths by how they fail. */
  readonly badKernels: Map<string, ToolstackError>;
}

export function fakeWorld(): World {
  const hypervisor = new FakeHypervisor(), store = new FakeStore();
  const openDisks = new Set<string>(), openVifs = new Set<string>(), openConsoles = new Set<number>(), messages: string[] = [], badKernels = new Map<string, ToolstackError>();
  const consoles: Consoles = {
    open: dom => { openConsoles.add(dom); }, close: dom => { openConsoles.delete(dom); }, attach: () => undefined, source: () => undefined,
  };
  const builder: Builder = {
    prepare: async config => {
      const error = badKernels.get(config.kernel) ?? (config.ramdisk ? badKernels.get(config.ramdisk) : undefined);
      if (error) throw error;
      return { build: () => { const late = badKernels.get(`build ${config.kernel}`); if (late) throw late; return { storeMfn: mfn(1178113), consoleMfn: mfn(1178114) }; } };
    },
  };
  const disks: DiskBackend = {
    open: async disk => {
      if (disk.target.includes('nonexist')) throw new ToolstackError('bad-disk', `Disk vdev=${disk.vdev} failed to stat: ${disk.target}: No such file or directory`);
      openDisks.add(disk.target);
      let letGo = (): void => {};
      const removed = new Promise<void>(resolve => { letGo = resolve; });
      return {
        removed, close: async () => { openDisks.delete(disk.target); }, info: () => ({ rd_req: 3, wr_req: 2, rd_sect: 8, wr_sect: 16, in_flight: 1 }),
        // A guest that lets go as soon as it is asked.
        attach: (_dom, _devid, _front, back) => { store.watch(`${back}/state`, () => { if (store.read(`${back}/state`) === '5') letGo(); }); },
      };
    },
  };
  const networks: NetBackend = {
    check: vif => { if (vif.bridge?.startsWith('nobridge')) throw new ToolstackError('bad-vif', `Could not find bridge device ${vif.bridge}`); },
    attach: (_vif, _dom, path) => {
      openVifs.add(path);
      // A guest that lets go as soon as it is asked.
      const removed = new Promise<void>(resolve => { store.watch(`${path}/state`, () => { if (store.read(`${path}/state`) === '5') resolve(); }); });
      return { removed, close: async () => { openVifs.delete(path); }, restart: async () => {}, info: () => ({}) };
    },
  };
  const log = { info: (_: object, m: string) => { messages.push(m); }, warn: (_: object, m: string) => { messages.push(m); }, error: (f: object, m: string) => { messages.push(`${m} ${JSON.stringify(f)}`); } };
  let now = 1795395827600;
  const near: Neighbours = { hypercalls: hypervisor.calls as unknown as Dom0Hypercalls, store, consoles, builder, disks, networks, log, nowMs: () => (now += 10_000) };
  return { near, hypervisor, store, openDisks, openVifs, openConsoles, messages, badKernels };
}
