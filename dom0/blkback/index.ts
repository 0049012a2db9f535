// blkback: the backend of virtual disks. One Vbd per device follows the frontend through the xenbus states
// (io/xenbus.h, the diagram in io/blkif.h) and runs a ring while both ends are connected.
// Invariant: steps on one device run one after the other (#queue); pages are mapped exactly while #link is set.
import type { Dom0Hypercalls, GrantMapping } from '../../hypervisor/public/dom0-hypercalls.ts';
import { XenbusStateClosed, XenbusStateClosing, XenbusStateConnected, XenbusStateInitialised, XenbusStateInitialising, XenbusStateInitWait } from '../../hypervisor/public/io/xenbus.ts';
import { evtchnPort, grantRef, type Domid, type EvtchnPort } from '../../hypervisor/public/types.ts';
import type { DiskConfig } from '../toolstack/config/schema.ts';
import { messageOf, ToolstackError } from '../toolstack/errors.ts';
import type { DiskBackend, OpenDisk } from '../toolstack/ports.ts';
import type { XenStore } from '../xenstore/client.ts';
import { VDISK_CDROM, VDISK_READONLY, SECTOR_BYTES } from '../../hypervisor/public/io/blkif.ts';
import { ImageDisk, type Disk } from './device.ts';
import { newMetrics, type BlkbackMetrics } from './metrics.ts';
import { MAX_INDIRECT_SEGMENTS } from './request.ts';
import { BlkRing } from './ring.ts';
import { SharedRing } from './shared-ring.ts';

export const MAX_RING_PAGE_ORDER = 4;

export interface BlkbackNeighbours {
  readonly hypercalls: Dom0Hypercalls; readonly store: XenStore;
  /** A line for xl dmesg. */
  complain(what: string): void;
}

/** The frontend's side is not as io/blkif.h wants it; the message goes to the backend's error node. */
class FrontendError extends Error {}

export class Blkback implements DiskBackend {
  readonly #near: BlkbackNeighbours;
  constructor(near: BlkbackNeighbours) { this.#near = near; }

  async open(config: DiskConfig, owner: string): Promise<OpenDisk> {
    const disk = await ImageDisk.open({ path: config.target, readOnly: config.readOnly, discard: config.discard, owner })
      .catch(error => { throw new ToolstackError('bad-disk', `Disk vdev=${config.vdev} ${messageOf(error)}`, { cause: error }); });
    let vbd: Vbd | undefined;
    return {
      attach: (dom, devid, frontend, backend) => { vbd = new Vbd(this.#near, disk, { dom, devid, frontend, backend, cdrom: config.cdrom }); vbd.start(); },
      close: async () => { await vbd?.stop(); await disk.close(); },
      info: () => ({ ...(vbd?.metrics() ?? newMetrics()) }),
    };
  }
}

export interface VbdPlace { readonly dom: Domid; readonly devid: number; readonly frontend: string; readonly backend: string; readonly cdrom: boolean }
interface Link { readonly ring: BlkRing; readonly pages: readonly GrantMapping[]; readonly port: EvtchnPort }

export class Vbd {
  readonly #near: BlkbackNeighbours; readonly #disk: Disk; readonly #place: VbdPlace;
  #link: Link | undefined;
  #queue: Promise<void> = Promise.resolve();
  #unwatch: () => void = () => {};
  #stopped = false;
  /** Counters of rings before the present one. */
  #past: BlkbackMetrics = newMetrics();

  constructor(near: BlkbackNeighbours, disk: Disk, place: VbdPlace) { this.#near = near; this.#disk = disk; this.#place = place; }

  /** Publishes what the backend can do and waits for the frontend. */
  start(): void {
    const { store } = this.#near;
    store.transaction(t => {
      for (const [key, value] of Object.entries(this.#features())) t.write(`${this.#place.backend}/${key}`, value);
    });
    this.#state(XenbusStateInitWait);
    this.#unwatch = store.watch(`${this.#place.frontend}/state`, `vbd-${this.#place.dom}-${this.#place.devid}`, () => this.#enqueue(() => this.#frontendChanged()));
  }

  /** Finishes requests in flight, unmaps, ends. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unwatch();
    await this.#queue;
    await this.#disconnect();
  }

  metrics(): BlkbackMetrics {
    const now = this.#link?.ring.metrics ?? newMetrics();
    const sum = Object.fromEntries(Object.entries(now).map(([key, value]) => [key, value + this.#past[key as keyof BlkbackMetrics]]));
    return { ...(sum as unknown as BlkbackMetrics), in_flight: now.in_flight, persistent_grants: now.persistent_grants };
  }

  #enqueue(step: () => Promise<void>): void {
    this.#queue = this.#queue.then(async () => { if (!this.#stopped) await step(); }).catch(error => this.#complain(messageOf(error)));
  }

  async #frontendChanged(): Promise<void> {
    const state = Number(this.#near.store.read(`${this.#place.frontend}/state`) ?? XenbusStateClosed);
    switch (state) {
      case XenbusStateInitialising:
        // A frontend that starts over, after its driver was unloaded or another kernel took over.
        if (this.#ownState() === XenbusStateClosed) { await this.#disconnect(); this.#state(XenbusStateInitWait); }
        break;
      case XenbusStateInitialised: case XenbusStateConnected:
        if (!this.#link && this.#ownState() !== XenbusStateClosing) this.#connect();
        break;
      case XenbusStateClosing: this.#state(XenbusStateClosing); break;
      case XenbusStateClosed: await this.#disconnect(); this.#state(XenbusStateClosed); break;
    }
  }

  #connect(): void {
    try {
      this.#link = this.#makeLink();
    } catch (error) {
      if (!(error instanceof FrontendError)) throw error;
      this.#complain(error.message);
      this.#near.store.write(`${this.#place.backend}/error`, error.message);
      this.#state(XenbusStateClosing);
      return;
    }
    this.#near.store.transaction(t => {
      for (const [key, value] of Object.entries(this.#properties())) t.write(`${this.#place.backend}/${key}`, value);
    });
    this.#state(XenbusStateConnected);
    // Requests may have been waiting in the ring since before the event channel was bound.
    this.#link.ring.kick();
  }

  #makeLink(): Link {
    const { hypercalls } = this.#near, { dom } = this.#place;
    const protocol = this.#front('protocol');
    if (protocol !== undefined && protocol !== 'x86_64-abi') throw new FrontendError(`ring protocol ${protocol.slice(0, 32)} is not supported`);
    const pages: GrantMapping[] = [];
    try {
      for (const ref of this.#ringRefs()) {
        const page = hypercalls.gnttabMap(dom, grantRef(ref), false);
        if (typeof page === 'number') throw new FrontendError(`ring page ${ref} cannot be mapped (error ${page})`);
        pages.push(page);
      }
      const shared = sharedRing(pages);
      const remote = this.#number('event-channel');
      const bound = hypercalls.evtchnBindInterdomain(dom, evtchnPort(remote));
      if (bound < 0) throw new FrontendError(`event channel ${remote} cannot be bound (error ${bound})`);
      const port = bound as EvtchnPort;
      const ring = new BlkRing({
        ring: shared, disk: this.#disk, dom, persistent: this.#front('feature-persistent') === '1', hypercalls,
        notify: () => { hypercalls.evtchnSend(port); }, complain: what => this.#complain(what),
      });
      hypercalls.onEvent(port, () => ring.kick());
      return { ring, pages, port };
    } catch (error) {
      for (const page of pages) hypercalls.gnttabUnmap(page);
      throw error;
    }
  }

  async #disconnect(): Promise<void> {
    const link = this.#link;
    if (!link) return;
    this.#near.hypercalls.evtchnClose(link.port);
    await link.ring.stop();
    for (const page of link.pages) this.#near.hypercalls.gnttabUnmap(page);
    this.#past = this.metrics();
    this.#link = undefined;
  }

  #ringRefs(): number[] {
    const order = this.#front('ring-page-order') === undefined ? undefined : this.#number('ring-page-order');
    if (order === undefined) return [this.#number('ring-ref')];
    if (order > MAX_RING_PAGE_ORDER) throw new FrontendError(`ring-page-order ${order} is more than ${MAX_RING_PAGE_ORDER}`);
    return Array.from({ length: 2 ** order }, (_, i) => this.#number(order === 0 && this.#front('ring-ref0') === undefined ? 'ring-ref' : `ring-ref${i}`));
  }

  #front(key: string): string | undefined { return this.#near.store.read(`${this.#place.frontend}/${key}`); }

  #number(key: string): number {
    const text = this.#front(key);
    if (text === undefined || !/^\d{1,10}$/.test(text) || Number(text) > 0xffff_ffff) throw new FrontendError(`${key} is ${text === undefined ? 'missing' : `"${text.slice(0, 32)}"`}, not a number`);
    return Number(text);
  }

  #features(): Record<string, string> {
    const { discard, readOnly } = this.#disk;
    return {
      'max-ring-page-order': String(MAX_RING_PAGE_ORDER), 'multi-queue-max-queues': '1', 'feature-max-indirect-segments': String(MAX_INDIRECT_SEGMENTS),
      'feature-persistent': '1', 'feature-flush-cache': readOnly ? '0' : '1', 'feature-barrier': readOnly ? '0' : '1', 'hotplug-status': 'connected',
      ...(discard ? { 'feature-discard': '1', 'discard-granularity': String(this.#disk.discardGranularityBytes), 'discard-alignment': '0', 'discard-secure': '0' } : {}),
    };
  }

  #properties(): Record<string, string> {
    const info = (this.#disk.readOnly ? VDISK_READONLY : 0) | (this.#place.cdrom ? VDISK_CDROM : 0);
    return { sectors: String(this.#disk.sectors), info: String(info), 'sector-size': String(SECTOR_BYTES), 'physical-sector-size': String(this.#disk.physicalSectorBytes) };
  }

  #ownState(): number { return Number(this.#near.store.read(`${this.#place.backend}/state`) ?? XenbusStateClosed); }
  #state(state: number): void { if (this.#near.store.exists(this.#place.backend)) this.#near.store.write(`${this.#place.backend}/state`, String(state)); }
  #complain(what: string): void { this.#near.complain(`d${this.#place.dom} vbd ${this.#place.devid}: ${what}`); }
}

function sharedRing(pages: readonly GrantMapping[]): SharedRing {
  try { return new SharedRing(pages.map(page => page.bytes)); } catch (error) { throw new FrontendError(messageOf(error)); }
}
